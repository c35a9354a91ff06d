"""What long operations tell while they run and at their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, NamedTuple

from services.runtime.lifecycle import cancel

# Stage in a few words, how many items are done, how many there are (0: not known).
Progress = Callable[[str, int, int], None]


class At(NamedTuple):
    """How far an operation is; `total` is 0 while unknown."""

    stage: str
    done: int
    total: int


class Found(NamedTuple):
    """Something that is not as the ledger says: what, where, and how it differs."""

    kind: str
    subject: str
    detail: str


class Checked(NamedTuple):
    """What was checked."""

    rows: int
    players: int
    boards: int
    members: int
    findings: int
    mended_players: int = 0
    rebuilt_boards: int = 0


class Rebuilt(NamedTuple):
    """What a rebuild made."""

    generation: int
    boards: int
    members: int


class BoardsLostError(RuntimeError):
    """Redis went back, or another maker took over, while boards were made."""


async def followed(make: Callable[[Progress], Coroutine[Any, Any, Rebuilt]]) -> AsyncIterator[At | Rebuilt]:
    """Makes boards: progress as it comes, what was made last. If nobody follows any more, making is broken off."""
    steps: asyncio.Queue[At] = asyncio.Queue()
    work = asyncio.create_task(make(lambda *step: steps.put_nowait(At(*step))))
    try:
        while not work.done() or not steps.empty():
            step = asyncio.ensure_future(steps.get())
            await asyncio.wait({work, step}, return_when=asyncio.FIRST_COMPLETED)
            if step.done():
                yield step.result()
            else:
                step.cancel()
        yield work.result()
    finally:
        await cancel(work)
