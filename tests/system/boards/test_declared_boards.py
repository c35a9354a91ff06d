"""Boards that are declared later: they appear with every player who has scored, and lose nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping

import pytest

from services.boards.board import Board
from services.boards.catalog import Catalog, parse_declarations
from services.runtime.clock import utc_now
from services.score.projection.standings import Agreement
from tests.deadline import deadline
from tests.system.score import ScoreSystem, random_events, totals_of

DECLARED = "home=all,VN; home-month=monthly,VN"


async def shows(system: ScoreSystem, board: str, players: Mapping[str, int]) -> None:
    """Wait until the board has these players with these points."""
    async with deadline():
        while dict(await system.board(board)) != players:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("before", ["", "home=weekly,VN"])
async def test_declared_board_appears_complete(system: ScoreSystem, before: str) -> None:
    """The worker that starts last declares it; the other adopts that while both count."""
    events = random_events(600, players=40, seed=3)
    at_home = {event.payload.user_id for event in events if event.payload.country == "VN"}
    expected = {user: total for user, total in totals_of(events).items() if total > 0 and user in at_home}
    month = Board.parse("monthly", utc_now()).qualifier
    async with system.worker(TOPTEN_BOARDS_DECLARED=before):
        await system.publish(*events[:200])
        await system.until_drained()
        async with system.worker(TOPTEN_BOARDS_DECLARED=DECLARED):
            await system.publish(*events[200:])
            await shows(system, f"custom:home-month:{month}", expected)
            await shows(system, "custom:home", expected)
            async with deadline():  # boards of the earlier declaration are removed
                while [key async for key in system.redis.scan_iter(match="leaderboard:custom:home:*")]:
                    await asyncio.sleep(0.02)
            system.placement.adopt(Agreement(Catalog(parse_declarations(DECLARED)), 0))
            await system.until_drained()
            assert await system.verify() == []
    async with system.worker():
        await shows(system, "custom:home", {})
        await shows(system, "all", {user: total for user, total in totals_of(events).items() if total > 0})


async def test_declared_boards_wait_for_workers_of_an_earlier_declaration(system: ScoreSystem) -> None:
    """It is suspended in the middle of a batch; what it writes afterwards must not stay."""
    events = random_events(1500, players=40, seed=4)
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
            await system.until_drained()
            await shows(system, "custom:home", expected)
            assert await system.redis.keys("leaderboard:custom:home:*") == []
            assert "declared boards changed" in late.log
