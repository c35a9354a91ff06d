"""Progress of long operations, as a stream for the caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, NamedTuple

from services.runtime.process.lifecycle import cancel
from services.score.projection.rebuild import RebuildSummary, ReportProgress


class Progress(NamedTuple):
    """A stage in a few words, the items done, and their number, 0 while unknown."""

    stage: str
    done: int
    total: int


async def rebuild_with_progress(
    rebuild: Callable[[ReportProgress], Coroutine[Any, Any, RebuildSummary]],
) -> AsyncIterator[Progress | RebuildSummary]:
    """Run a rebuild and yield its progress, then its summary. Closing the iterator cancels the rebuild."""
    steps: asyncio.Queue[Progress | None] = asyncio.Queue()
    work = asyncio.create_task(rebuild(lambda *step: steps.put_nowait(Progress(*step))))
    work.add_done_callback(lambda _: steps.put_nowait(None))
    try:
        while (step := await steps.get()) is not None:
            yield step
        yield work.result()
    finally:
        await cancel(work)
