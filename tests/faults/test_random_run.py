"""A short random run with a fixed seed, in which MongoDB is restored from a backup and started with older files."""

from __future__ import annotations

import pytest

from tests.faults.random_run import SETTINGS, WORKERS, RandomRun
from tests.servers import running_stack

SEED = 2794


@pytest.mark.slow
async def test_accepted_action_counts_once_whatever_dies_in_any_order() -> None:
    """Takes a minute: the system starts, has faults for twelve, and recovers before everything is verified."""
    lines: list[str] = []
    with running_stack(SETTINGS, *WORKERS) as stack:
        wrong = await RandomRun(stack, SEED, lines.append).run(12, longest=3)
        assert wrong == [], (lines, stack.logs())
