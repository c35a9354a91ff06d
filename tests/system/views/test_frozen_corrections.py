"""Boards with a freeze, whose players are blocked and erased and whose workers die: both standings follow from the ledger."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta

from services.boards.board import Board
from services.boards.catalog import Catalog
from services.boards.periods.closed import BOARDS
from services.boards.periods.freezing import source_of
from services.runtime.clock import utc_now
from services.streams import PLAYER_BLOCKED, PLAYER_ERASED, PLAYER_UNBLOCKED
from tests.faults.test_crash_points import SHORT_ACK_WAIT
from tests.system.boards.seeded import reader
from tests.system.boards.test_defined_boards import definitions_of, expected, shown
from tests.system.periods.closing import Quiz, account_change, archive_of_database, archived, quiz, system
from tests.system.score import QuizCompleted, ScoreSystem
from tests.system.views.test_frozen_boards import (
    CUP,
    FREEZE,
    START,
    around_the_freeze,
    is_as_expected,
    until_built,
    void_of,
)

__all__ = ["quiz", "system"]
ENDED = replace(
    CUP,
    name="ended",
    period=f"range:{START.isoformat()}/{(START + timedelta(hours=1)).isoformat()}",
    freezes_before=30 * 60,
)


def without(events: Sequence[QuizCompleted], players: Collection[str]) -> list[QuizCompleted]:
    return [event for event in events if event.payload.user_id not in players]


async def test_blocks_erasures_and_a_crash_between_a_board_and_its_copy(system: ScoreSystem, quiz: Quiz) -> None:
    quiz.oldest = START  # nothing is closed
    events = around_the_freeze(150, seed=6)
    async with system.worker(**SHORT_ACK_WAIT):
        await system.publish(*events[:60])
        await definitions_of(system).put(CUP, actor="test")
        await until_built(system)
        await system.until_drained()
    with system.crashing("score.between-two-boards", SHORT_ACK_WAIT, nth=2) as worker:
        await worker.start()
        await system.publish(*events[60:90])
        await system.publish_bytes("player-1", account_change("player-1", 1, PLAYER_BLOCKED))
        await system.publish_bytes("player-2", account_change("player-2", 1, PLAYER_ERASED))
        await system.publish(*events[90:120])
        await worker.died()
    async with system.worker(**SHORT_ACK_WAIT):
        await system.publish(*events[120:], copies=2)
        await system.publish_bytes("player-3", account_change("player-3", 1, PLAYER_BLOCKED))
        await is_as_expected(system, without(events, {"player-1", "player-2", "player-3"}))
        await system.publish_bytes("player-1", account_change("player-1", 2, PLAYER_UNBLOCKED))
        await is_as_expected(system, without(events, {"player-2", "player-3"}))
        await system.redis.flushall()
        await is_as_expected(system, without(events, {"player-2", "player-3"}))


async def test_closed_board_has_what_the_freeze_hid_and_its_copy_is_never_closed(
    system: ScoreSystem, quiz: Quiz
) -> None:
    """So what is sealed, proven and told by `board.closed` is the truth, of one board."""
    quiz.oldest = START
    events = around_the_freeze(120, seed=8)
    last = replace(ENDED, freezes_before=0)
    async with system.worker():
        await system.publish(*events)
        await definitions_of(system).put(ENDED, actor="test")
        await until_built(system)
        voided = next(event for event in events if event.payload.user_id == "player-4")
        await system.publish_bytes("player-4", void_of(voided).SerializeToString())
        await system.publish_bytes("player-5", account_change("player-5", 1, PLAYER_BLOCKED))
        await system.until_drained()
        kept = without([event for event in events if event is not voided], {"player-5"})
        truth = expected(last, kept)["custom:ended"]
        assert (await shown(system, ENDED))["custom:ended"] == truth
        board = Board("custom", "ended")
        copy = source_of(system.placement.catalog, board, FREEZE).board
        assert copy.is_until_freeze, "before its end, readers see the copy"
        hidden = dict(await system.board(copy.name))
        assert hidden != truth
        quiz.oldest = utc_now()
        assert dict(await archived(system, board)) == truth
        database = archive_of_database(system)
        closed = [each["_id"] async for each in database[BOARDS].find()]
        assert [name for name in closed if "until_freeze" in name] == []
        boards = reader(system.redis, database, catalog=system.placement.catalog)
        assert await boards.read_marked(board, lambda view: view.total()) == (len(truth), False)
        changed = Catalog(defined=[replace(ENDED, number=9, state="building")])
        boards = reader(system.redis, database, catalog=changed)
        assert await boards.read_marked(board, lambda view: view.total()) == (len(truth), False), "closed is whole"
        assert await system.verify() == []
