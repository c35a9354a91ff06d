"""The random run, short, with a seed of every day."""

from __future__ import annotations

import pytest

from tests.faults.random_run import SETTINGS, WORKERS, RandomRun
from tests.servers import running_stack

SEED = 20_261_123


@pytest.mark.slow
async def test_whatever_dies_and_in_whatever_order_an_accepted_action_counts_once() -> None:
    """Takes about forty seconds: faults for twenty, then everything heals and is verified."""
    said: list[str] = []
    with running_stack(SETTINGS, *WORKERS) as stack:
        wrong = await RandomRun(stack, SEED, said.append).run(20, longest_stop=3)
        assert wrong == [], (said, stack.logs())
