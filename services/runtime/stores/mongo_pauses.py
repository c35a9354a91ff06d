"""Pauses of MongoDB's driver between two runs of its background tasks.

The driver sleeps half a second at a time until the next run is due, so that it can be woken before. It never wakes the tasks
that end abandoned cursors and that measure round trips: those may sleep until they are due, which saves a tenth of what the
processes at rest cost. The task that watches a server is woken when it is lost, and is left as it is.
"""

from __future__ import annotations

from typing import Any, Final

from pymongo import periodic_executor

NEVER_WOKEN: Final = frozenset({"pymongo_kill_cursors_thread", "pymongo_server_rtt_task"})


class UnhurriedExecutor(periodic_executor.AsyncPeriodicExecutor):
    """Sleeps until a task is due, if nobody wakes it."""

    def __init__(self, interval: float, min_interval: float, target: Any, name: str | None = None) -> None:
        super().__init__(interval, interval if name in NEVER_WOKEN else min_interval, target, name)


def let_tasks_rest() -> None:
    """Let the tasks of clients that are created from now on sleep until they are due."""
    periodic_executor.AsyncPeriodicExecutor = UnhurriedExecutor  # type: ignore[misc]  # where the driver looks it up
