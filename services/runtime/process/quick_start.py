"""Cheap imports for a process: the first import of its `__main__`, which has no effect anywhere else.

A process imports about a thousand modules, and everything in them stays. So the garbage collector, which would search it again
and again, is off until `lifecycle.execute` turns it on. And libraries that import an optional companion wherever it is
installed are told that it is missing, where no process uses it:

    structlog → rich                          draws tracebacks on a terminal; ours are plain text or JSON
    redis     → opentelemetry.sdk.metrics     metrics of its own; ours are Prometheus'

Must never leave out what a process uses: `tests/contract/test_imports.py` lists what each one imports.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_UNUSED: Final = ("rich", "opentelemetry.sdk.metrics")


@contextmanager
def without_collector() -> Iterator[None]:
    """Turn the garbage collector off for imports, and on again after them."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def hide_unused() -> None:
    """Make imports of the unused companions fail, unless they are imported already."""
    for name in _UNUSED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # the documented way to make an import fail


def _is_process() -> bool:
    """Whether this is `python -m services.quiz` or the like, not a test or a command that imports its modules."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec is not None and spec.name.endswith(".__main__") and spec.name.startswith(("services.", "edge."))


if _is_process():
    gc.disable()
    hide_unused()
