"""The fork server of the suite: it starts the single services and further instances that tests need."""

from __future__ import annotations

import os

from services.embedded.fork_server import ForkServer


class SuiteForkServer(ForkServer):
    """Starts single services, whose imports would take most of their CPU.

    It lives as long as the run, so it and what it forks do not bear the mark of the test that needed it first.
    """

    def start(self) -> None:
        test = os.environ.pop("PYTEST_CURRENT_TEST", None)
        try:
            super().start()
        finally:
            if test is not None:
                os.environ["PYTEST_CURRENT_TEST"] = test


FORK_SERVER = SuiteForkServer()
