"""Boards that are declared later: whoever has scored is on them at once, and nothing is lost on the way."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping

import pytest

from services.runtime.boards import Board
from services.runtime.catalog import Catalog, parse_declared
from services.runtime.clock import utc_now
from services.score.standings import Terms
from tests.system.score import PATIENCE_SECONDS, ScoreSystem, many, totals_of

DECLARED = "home=all,VN; home-month=monthly,VN"


async def shows(system: ScoreSystem, board: str, players: Mapping[str, int]) -> None:
    """Returns when the board has these players with these points."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while dict(await system.board(board)) != players:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("before", ["", "home=weekly,VN"])
async def test_a_board_is_whole_as_soon_as_it_is_declared(system: ScoreSystem, before: str) -> None:
    """Declared by the worker that starts last; the other takes it over while both count."""
    events = many(600, players=40, seed=3)
    at_home = {event.payload.user_id for event in events if event.payload.country == "VN"}
    expected = {user: total for user, total in totals_of(events).items() if total > 0 and user in at_home}
    month = Board.parse("monthly", utc_now()).qualifier
    async with system.worker(TOPTEN_BOARDS_DECLARED=before):
        await system.publish(*events[:200])
        await system.settled()
        async with system.worker(TOPTEN_BOARDS_DECLARED=DECLARED):
            await system.publish(*events[200:])
            await shows(system, f"custom:home-month:{month}", expected)
            await shows(system, "custom:home", expected)
            async with asyncio.timeout(PATIENCE_SECONDS):  # what was declared otherwise goes
                while [key async for key in system.redis.scan_iter(match="leaderboard:custom:home:*")]:
                    await asyncio.sleep(0.02)
            system.placing.adopt(Terms(Catalog(parse_declared(DECLARED)), 0))
            assert await system.verified() == []
    async with system.worker():
        await shows(system, "custom:home", {})
        await shows(system, "all", {user: total for user, total in totals_of(events).items() if total > 0})


async def test_boards_wait_for_a_worker_that_still_writes_others(system: ScoreSystem) -> None:
    """He stands still in the middle of a batch; what he then writes late must not stay."""
    events = many(3000, players=40, seed=4)
    at_home = {event.payload.user_id for event in events if event.payload.country == "VN"}
    expected = {user: total for user, total in totals_of(events).items() if total > 0 and user in at_home}
    async with system.worker(TOPTEN_BOARDS_DECLARED="home=weekly,VN", TOPTEN_SCORE_BATCH="20") as late:
        publishing = asyncio.create_task(system.publish(*events))
        await system.until_counted(100)
        os.kill(late.pid, signal.SIGSTOP)
        async with system.worker(TOPTEN_BOARDS_DECLARED=DECLARED):
            rows = await system.database["ledger"].estimated_document_count()
            await system.until_counted(min(rows + 500, len(events)))
            os.kill(late.pid, signal.SIGCONT)
            await publishing
            await system.settled()
            await shows(system, "custom:home", expected)
            assert await system.redis.keys("leaderboard:custom:home:*") == []
            assert "other boards are declared" in late.log
