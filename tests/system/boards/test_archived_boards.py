"""Archived boards: they keep their last state, and answer as the live board did."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from topten.identity.v1.identity_events_pb2 import PlayerChangedEvent

from services.boards.board import Board
from services.boards.catalog import Catalog
from services.boards.definition import Definition
from services.boards.encoding import points_of
from services.boards.periods.closed import DATABASE
from services.leaderboard.reading.rosters import Roster, Team
from services.leaderboard.reading.shown_board import BoardView
from services.runtime.clock import milliseconds_of, utc_now
from services.runtime.errors import Reason, ServiceError
from services.score.coordination_store import CLOSING_LEASE, CoordinationStore
from services.score.definitions.service import BoardDefinitions
from services.score.definitions.store import DefinitionStore
from services.score.periods.archive_store import ArchiveStore
from services.score.projection.standings import Agreement
from services.score.service import ScoreService
from services.streams import PLAYER_BLOCKED, PLAYER_UNBLOCKED
from tests.deadline import eventually
from tests.system.boards.seeded import FixedRosters, no_group, reader
from tests.system.periods.closing import (
    LAST_WEEK,
    Quiz,
    account_change,
    archive_of,
    archive_of_database,
    archived,
    in_last_week,
    last_week,
    quiz,
    resealer_of,
    system,
)
from tests.system.score import (
    ScoreSystem,
    completed,
    random_events,
)

__all__ = ["quiz", "system"]


async def test_archived_board_of_all_time_stays_readable_after_its_keys(system: ScoreSystem, quiz: Quiz) -> None:
    store = DefinitionStore(system.mongo.client[f"{system.environ['TOPTEN_MONGO_DATABASE']}_{DATABASE}"])
    definitions = BoardDefinitions(store, lambda: system.placement.catalog, no_group, now=utc_now)
    async with system.worker():
        await system.publish(completed("ada", 40), completed("ben", 30))
        await definitions.put(Definition("ever", sources=("quiz:capitals",)), actor="m")

        async def is_ready() -> bool:
            return all(each.state == "ready" for each in (await store.read()).boards.values())

        await eventually(is_ready, "a board that is ready")
        await system.until_drained()
        await definitions.archive("ever", actor="m")
        assert await archived(system, Board("custom", "ever")) == [("ada", 40), ("ben", 30)]

        async def expires() -> bool:
            return await system.redis.ttl("leaderboard:custom:ever") > 0

        await eventually(expires, "keys that expire")
        system.placement.adopt(Agreement(await store.catalog(""), 0))
        boards = reader(system.redis, archive_of_database(system), catalog=system.placement.catalog)
        await system.redis.delete("leaderboard:custom:ever")
        assert await boards.read(Board("custom", "ever"), lambda view: view.total()) == 2
        catalog = Catalog(defined=[replace(system.placement.catalog.definitions["ever"], segment="teams:sum")])
        rosters = FixedRosters(
            {"ever": Roster(1, [Team("t", "T", ["ada", "ben"], [0, 0]), Team("u", "U", ["cleo"], [0])])}
        )
        boards = reader(system.redis, archive_of_database(system), catalog=catalog, rosters=rosters)
        head = await boards.read(Board("custom", "ever"), lambda view: view.head(10))
        assert [(team_id, points_of(value)) for team_id, value in head.members] == [("t", 70)], "teams, too"

        archived_at = system.placement.catalog.definitions["ever"].archived_at
        assert archived_at is not None
        later = milliseconds_of(archived_at) + 1
        catalog = Catalog(
            defined=[replace(system.placement.catalog.definitions["ever"], segment=f"group:{uuid.uuid4()}")]
        )
        rosters = FixedRosters({"ever": Roster(1, [Team("g", "", ["ada", "ben", "cleo"], [later, 0, 0])])})
        boards = reader(system.redis, archive_of_database(system), catalog=catalog, rosters=rosters)
        head = await boards.read(Board("custom", "ever"), lambda view: view.head(10))
        assert [(user_id, points_of(value)) for user_id, value in head.members] == [("ben", 30)], (
            "joining changes nothing"
        )


async def does_not_reach(system: ScoreSystem, event_id: str, boards: list[str]) -> None:
    """The effect of the event names these closed and archived boards as those that stay as they are."""
    unused: Any = None
    service = ScoreService(
        system.store,
        unused,
        unused,
        unused,
        system.placement,
        unused,
        unused,
        unused,
        replacements=unused,
        caller_groups=unused,
    )
    effect = await service.event_effect(event_id)
    assert effect is not None
    assert [each.name for each in effect.unchanged] == boards


async def test_archived_board_is_resealed_with_what_is_known_later(system: ScoreSystem, quiz: Quiz) -> None:
    store = DefinitionStore(archive_of_database(system))
    definitions = BoardDefinitions(store, lambda: system.placement.catalog, no_group, now=utc_now)
    board, begun = Board("custom", "over"), utc_now()
    async with system.worker():
        await system.publish(completed("ada", 40), completed("ben", 30), completed("cleo", 20))
        await system.publish_bytes("ada", account_change("ada", 1, PLAYER_BLOCKED))
        await definitions.put(Definition("over", sources=("quiz:capitals",)), actor="m")

        async def is_in_state() -> bool:
            over = (await store.read()).boards["over"]
            return over.kept or (over.state == "ready" and over.archived_at is None)

        await eventually(is_in_state, "a board that is ready")
        await system.until_drained()
        resealer = resealer_of(system, ArchiveStore(archive_of_database(system), system.redis))
        system.placement.adopt(Agreement(await store.catalog(""), 0))
        with pytest.raises(ServiceError) as refused:
            await resealer.reseal(board.name, "", "too early", actor="m")
        assert refused.value.reason is Reason.INVALID_ARGUMENT
        await definitions.archive("over", actor="m")
        await eventually(is_in_state, "its last state in the archive")
        system.placement.adopt(Agreement(await store.catalog(""), 0))
        assert await archived(system, board) == [("ben", 30), ("cleo", 20)]
        assert await resealer.reseal(board.name, "", "nothing happened", actor="m") == []

        acquittal, block = account_change("ada", 2, PLAYER_UNBLOCKED), account_change("ben", 1, PLAYER_BLOCKED)
        await system.publish_bytes("ada", acquittal)
        await system.publish_bytes("ben", block)
        after, of_others = completed("cleo", 5, attempt=2, total=25), completed("dora", 5, quiz_id="rivers")
        await system.publish(after, of_others)
        await system.publish_bytes("dora", blocked_dora := account_change("dora", 1, PLAYER_BLOCKED))
        await system.until_drained()
        await does_not_reach(system, after.event_id, [])
        await does_not_reach(system, PlayerChangedEvent.FromString(blocked_dora).event_id, [])
        for change in (acquittal, block):
            await does_not_reach(system, PlayerChangedEvent.FromString(change).event_id, [board.name])
        late = completed("eve", 3, at=begun)
        await system.publish(late)
        await system.until_drained()
        await does_not_reach(system, late.event_id, [board.name])
        (for_ada,) = await resealer.reseal(board.name, "ada", "acquitted", actor="m")
        assert for_ada.changes[0] == ("ada", 0, 1, 0, 40)
        await resealer.reseal(board.name, "", "disqualified", actor="m")
        assert await archived(system, board) == [("ada", 40), ("cleo", 20), ("eve", 3)], (
            "what came after the archiving does not count"
        )
        assert await resealer.reseal(board.name, "", "again", actor="m") == []
        assert await system.verify() == []


async def test_archived_board_has_its_last_state_whatever_is_rebuilt_before_it_is_kept(
    system: ScoreSystem, quiz: Quiz
) -> None:
    """Its counter is that of a board that goes on, and Redis loses everything again while no worker runs."""
    store = DefinitionStore(archive_of_database(system))
    definitions = BoardDefinitions(store, lambda: system.placement.catalog, no_group, now=utc_now)
    ended = Definition("ended", sources=("quiz:capitals",), segment="each-country")
    board = ended.board("VN", "")
    expected = [("ada", 40), ("ben", 30), ("cleo", 20)]

    async def are_ready() -> bool:
        return all(each.state == "ready" for each in (await store.read()).boards.values())

    async def is_adopted() -> bool:
        """Whether the workers that run count under the last edition."""
        return await CoordinationStore(system.database).all_defined(await store.edition(), timedelta(hours=1))

    async with system.worker(TOPTEN_SCORE_CLOSE_INTERVAL="1h"):
        await system.publish(*(completed(name, points) for name, points in expected))
        await definitions.put(ended, actor="m")
        await definitions.put(replace(ended, name="goes-on"), actor="m")
        await eventually(are_ready, "boards that are ready")
        await system.until_drained()
        await definitions.archive("ended", actor="m")
        await eventually(is_adopted, "a worker that no longer counts on it")
        before = await system.until_complete()
        await system.redis.flushall()
        before = await system.until_complete(after=before)
        assert await system.board(board.name) == expected, "a rebuild fills it"
    await system.redis.flushall()
    await system.database["meta"].delete_one({"_id": CLOSING_LEASE})  # of a worker that no longer runs
    async with system.worker():
        archive = archive_of(system)
        system.placement.adopt(Agreement(await store.catalog(""), 0))
        boards = reader(system.redis, archive_of_database(system), catalog=system.placement.catalog)

        async def is_kept() -> bool:
            return (await store.read()).boards["ended"].kept

        await eventually(is_kept, "its last state in the archive")
        await eventually(is_adopted, "a worker that knows it")
        found = await archive.find(board)
        assert found is not None
        await system.publish(completed("ada", 5, attempt=2, total=45))
        await system.until_drained()
        await system.redis.flushall()
        await system.until_complete(after=before)
        assert await system.board(board.name) == [], "nothing fills it any more"
        head = await boards.read(board, lambda view: view.head(10))
        assert [(user_id, points_of(value)) for user_id, value in head.members] == expected
        assert (await system.board("custom:goes-on:VN"))[0] == ("ada", 45)
        assert await system.verify() == []


async def test_archived_board_answers_every_question_as_the_live_board_did(system: ScoreSystem, quiz: Quiz) -> None:
    quiz.oldest = last_week()
    async with system.worker():
        await system.publish(*in_last_week(random_events(400, players=60, seed=7)))
        await system.until_drained()
        archive = archive_of(system)
        database = system.mongo.client[f"{system.environ['TOPTEN_MONGO_DATABASE']}_{DATABASE}"]
        boards = reader(system.redis, database)
        players = [user for user, _ in await system.board(LAST_WEEK.name)]

        async def answers(board: BoardView) -> list[Any]:
            results: list[Any] = [await board.total(), (await board.head(10)).members]
            standings = await board.standings([*players[::7], "nobody"])
            results.append({user: (each.rank, each.value, each.above) for user, each in standings.items()})
            after = None
            for _ in range(4):
                page = await board.page(17, after)
                results.append((page.total, page.first, page.members, page.above))
                after = page.members[-1] if page.members else after
            for user in (players[0], players[1], players[len(players) // 2], players[-1], "nobody"):
                window = await board.around(user, 3)
                results.append((window.total, window.members, window.members and window.first, window.above))
            results += [await board.ahead(value, players[3]) for value in (0.5, 40.0, 10_000.0)]
            results += [await board.quantile(percentile) for percentile in (0.1, 25, 50, 90, 100)]
            return results

        live = await boards.read(LAST_WEEK, answers)
        quiz.oldest = None
        await archived(system)
        await system.redis.delete(LAST_WEEK.key)
        assert await boards.read(LAST_WEEK, answers) == live
        closed = await archive.closed("weekly", None, 5)
        assert [(each.name, each.players) for each in closed] == [(LAST_WEEK.name, len(players))]
        assert await archive.closed("weekly", closed[0].ends_at, 5) == []
        assert closed[0].ends_at.utcoffset() == timedelta(0)
