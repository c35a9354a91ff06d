"""Boards that are defined while players score: each has what a plain computation over all events says, whenever it came."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from topten.action.v1.action_events_pb2 import ActionCompletedEvent
from topten.quiz.v1 import quiz_events_pb2

from services.boards.board import Board, parse_custom_name
from services.boards.definition import Definition
from services.boards.encoding import points_of
from services.boards.periods.closed import DATABASE
from services.runtime.clock import utc_now
from services.runtime.errors import Reason, ServiceError
from services.score.definitions.service import MAX_PER_PLAYER, BoardDefinitions
from services.score.definitions.store import DefinitionStore
from services.score.ingest.decoding import decode
from services.score.ledger.counters.numbered import NumberedCounter
from services.score.projection.standings import Agreement
from services.streams import ACTION_COMPLETED
from tests.deadline import deadline, eventually
from tests.system.counting.local_worker import local_worker
from tests.system.score import ScoreSystem, completed, random_events

QuizCompleted = quiz_events_pb2.QuizCompletedEvent
QUIZ = ("quiz:quiz-0", "quiz:quiz-1")
RUN = ("action:run",)
GROUP, OTHER_GROUP = (f"group:{uuid.uuid4()}" for _ in range(2))
DEFINED = (
    Definition("two", sources=QUIZ),
    Definition("count", sources=("all",), aggregate="count"),
    Definition("best", sources=RUN, aggregate="best", segment="country:VN"),
    Definition("golf", sources=RUN, aggregate="best", order="asc"),
    Definition("latest", sources=("action:jump",), aggregate="latest", period="weekly", time_zone="Asia/Tokyo"),
    Definition("today", period="daily", time_zone="America/New_York", segment="each-country"),
    Definition("same-points", segment="country:DE,VN"),
    Definition("red", sources=("tag:red",)),
    Definition("red-or-one", sources=("quiz:quiz-1", "tag:red", "tag:blue"), aggregate="count"),
)
TAGS = ((), ("red",), ("blue", "red"), ("green",))
Happened = QuizCompleted | ActionCompletedEvent


def with_actions(events: list[QuizCompleted], seed: int) -> list[Happened]:
    """Return the events, every second one as an action of a type, a millisecond apart."""
    random_source = Random(seed)
    start = utc_now() - timedelta(seconds=len(events))
    happened: list[Happened] = []
    for number, event in enumerate(events):
        payload = event.payload
        if number % 2:
            action = ActionCompletedEvent(event_id=event.event_id, event_type=ACTION_COMPLETED)
            action.payload.user_id, action.payload.country = payload.user_id, payload.country
            action.payload.action_type_id = random_source.choice(["run", "jump"])
            action.payload.score_delta, action.payload.attempt = random_source.randrange(0, 60), 1
            action.payload.action_id = payload.action_id
            happened.append(action)
        else:
            happened.append(event)
        happened[-1].payload.timestamp.FromDatetime(start + timedelta(milliseconds=number))
        happened[-1].payload.tags.extend(random_source.choice(TAGS))
    return happened


async def publish(system: ScoreSystem, events: Sequence[Happened]) -> None:
    for event in events:
        await system.publish_bytes(event.payload.user_id, event.SerializeToString())


def definitions_of(system: ScoreSystem, *segments: str) -> BoardDefinitions:
    """Return the use cases of definitions; the groups of these segments exist."""

    async def has_group(group_id: str) -> bool:
        return f"group:{group_id}" in segments

    store = DefinitionStore(system.mongo.client[f"{system.prefix}_{DATABASE}"])
    return BoardDefinitions(store, lambda: system.placement.catalog, has_group, now=utc_now)


async def until_ready(system: ScoreSystem) -> None:
    """Wait until every board is built, and let the test's verification know them."""
    store = DefinitionStore(system.mongo.client[f"{system.prefix}_{DATABASE}"])

    async def is_ready() -> bool:
        return not any(each.state == "building" for each in (await store.read()).boards.values())

    await eventually(is_ready, "boards that are ready")
    system.placement.adopt(Agreement(await store.catalog(""), 0))


def expected(definition: Definition, events: Sequence[Happened]) -> dict[str, dict[str, int]]:
    """Return the points of the players on each board of a definition, by plain words."""
    calendar = definition.calendar
    by_board: defaultdict[tuple[str, str], list[Happened]] = defaultdict(list)
    for event in sorted(events, key=lambda each: each.payload.timestamp.ToMilliseconds()):
        payload = event.payload
        if isinstance(event, ActionCompletedEvent):
            source = f"action:{event.payload.action_type_id}"
        else:
            source = f"quiz:{event.payload.quiz_id}"
        sources = {"all", source, *(f"tag:{tag}" for tag in payload.tags)}
        if sources & {*definition.sources} and definition.includes(payload.country):
            board = definition.board(payload.country, calendar.name_of(payload.timestamp.ToMilliseconds())).name
            by_board[board, payload.user_id].append(event)
    boards: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (board, user_id), of_player in by_board.items():
        deltas = [event.payload.score_delta for event in of_player]
        points = {
            "sum": sum(deltas),
            "count": len(deltas),
            "best": (min if definition.is_ascending else max)([delta for delta in deltas if delta > 0] or [0]),
            "latest": deltas[-1],
        }[definition.aggregate]
        if points > 0:
            boards[board][user_id] = points
    return {board: players for board, players in boards.items() if players}


async def shown(system: ScoreSystem, definition: Definition) -> dict[str, dict[str, int]]:
    """Return the points of the players on each board of a definition in Redis."""
    boards: dict[str, dict[str, int]] = {}
    async for key in system.redis.scan_iter(match=f"leaderboard:custom:{definition.name}*"):
        name = key.decode().removeprefix("leaderboard:")
        board = Board.parse(name, utc_now())
        custom = parse_custom_name(board.qualifier)
        if custom is not None and custom.name == definition.name:
            members: Any = await system.redis.zrange(key, 0, -1, withscores=True)
            ascending = definition.is_ascending
            boards[name] = {member.decode(): points_of(value, ascending=ascending) for member, value in members}
    return boards


async def assert_shown(system: ScoreSystem, events: Sequence[Happened]) -> None:
    for definition in DEFINED:
        wanted = expected(definition, events)
        async with deadline(f"{definition.name} is as expected"):
            while await shown(system, definition) != wanted:
                await asyncio.sleep(0.05)
    await system.until_drained()
    assert await system.verify() == []


async def test_boards_defined_at_any_moment_have_all_that_players_ever_did(system: ScoreSystem) -> None:
    events = with_actions(random_events(900, players=30, seed=11, lowest=-5), seed=11)
    async with system.worker(), system.worker():
        await publish(system, events[:300])
        await system.until_counted(300)
        definitions = definitions_of(system)
        publishing = asyncio.create_task(publish(system, events[300:600]))
        for definition in DEFINED:
            stored, changed = await definitions.put(definition, actor="test")
            assert changed
            assert stored.state == "building"
        await publishing
        await until_ready(system)
        await publish(system, events[600:])
        await system.until_drained()
        await assert_shown(system, events)
        numbers = [board.definition.number for board in (await definitions.all(0))[1]]
        assert sorted(numbers) == [*range(9)], "one that the ledger always had, and a number for each other"
        await system.redis.flushall()
        await assert_shown(system, events)
    async with system.worker():  # nothing of it was in memory alone
        await system.redis.flushall()
        await assert_shown(system, events)


async def test_changed_definition_replaces_the_board_and_a_title_does_not(system: ScoreSystem) -> None:
    events = random_events(200, players=20, seed=12)
    async with system.worker():
        await system.publish(*events)
        await system.until_drained()
        definitions = definitions_of(system)
        await definitions.put(Definition("board", sources=("quiz:quiz-0",)), actor="test")
        await until_ready(system)
        assert await shown(system, Definition("board")) == expected(
            Definition("board", sources=("quiz:quiz-0",)), events
        )
        titled, changed = await definitions.put(Definition("board", "A title", sources=("quiz:quiz-0",)), actor="test")
        assert (titled.state, titled.version, changed) == ("ready", 2, True)
        assert (await definitions.put(Definition("board", "A title", sources=("quiz:quiz-0",)), actor="t"))[1] is False
        other = Definition("board", sources=("quiz:quiz-1",), segment="country:VN")
        assert (await definitions.put(other, actor="test"))[0].state == "building"
        await until_ready(system)
        assert await shown(system, other) == expected(other, events)
        assert await system.verify() == []


async def test_ready_board_is_never_emptied_by_a_worker_that_does_not_know_yet(system: ScoreSystem) -> None:
    """It has the definitions of before until its next heartbeat, by which it would build the board again."""
    events = random_events(50, players=5, seed=16)
    async with system.worker(), system.worker():
        await system.publish(*events)
        await system.until_drained()
        definitions = definitions_of(system)
        for number in range(8):
            definition = Definition(f"board-{number}", sources=QUIZ, aggregate="count")
            await definitions.put(definition, actor="test")
            await until_ready(system)
            edition = await DefinitionStore(system.mongo.client[f"{system.prefix}_{DATABASE}"]).edition()
            wanted = expected(definition, events)

            async def have_adopted(edition: int = edition) -> bool:
                workers = await system.database["meta"].find({"edition": {"$exists": True}}).to_list()
                return all(worker["edition"] == edition for worker in workers)

            while not await have_adopted():
                assert await shown(system, definition) == wanted
            assert await shown(system, definition) == wanted
        assert await system.verify() == []


async def test_board_is_built_by_another_worker_if_the_one_that_builds_dies(system: ScoreSystem) -> None:
    events = random_events(1500, players=150, seed=13)
    async with system.worker() as first:
        await system.publish(*events)
        await system.until_drained()
        await definitions_of(system).put(DEFINED[0], actor="test")

        async def has_begun() -> bool:
            return await system.database["ledger"].find_one({"kind": "COUNTERS_ADDED"}) is not None

        await eventually(has_begun, "the first rows with the counter")
        first.kill()
        async with system.worker():
            await until_ready(system)
            assert await shown(system, DEFINED[0]) == expected(DEFINED[0], events)
            assert await system.verify() == []


async def test_player_counted_by_a_worker_that_knows_no_counters_is_on_the_board_again(system: ScoreSystem) -> None:
    events = random_events(60, players=6, seed=15)
    async with system.worker():
        await system.publish(*events)
        await definitions_of(system).put(DEFINED[0], actor="test")
        await until_ready(system)
        await system.until_drained()
        old = await local_worker(system)  # its catalog is empty
        late = completed("player-0", 7, quiz_id="quiz-0", attempt=99, total=500)
        await old.count(decode(late.SerializeToString(), sequence=1, partition=0, digests=system.store.digests))
        await old.folds.close()
        events.append(late)
        wanted = expected(DEFINED[0], events)

        async def is_complete() -> bool:
            return await shown(system, DEFINED[0]) == wanted

        await eventually(is_complete, "the board has what the other worker counted")
        assert await system.verify() == []


async def test_archived_board_takes_no_more_points_and_its_name_is_gone(system: ScoreSystem) -> None:
    events = random_events(100, players=10, seed=14)
    async with system.worker():
        await system.publish(*events[:50])
        definitions = definitions_of(system)
        await definitions.put(DEFINED[1], actor="test")
        await until_ready(system)
        await system.until_drained()
        archived, changed = await definitions.archive("count", actor="test")
        assert (archived.state, changed) == ("archived", True)
        assert (await definitions.archive("count", actor="test"))[1] is False
        store = DefinitionStore(system.mongo.client[f"{system.prefix}_{DATABASE}"])
        edition = await store.edition()

        async def is_adopted() -> bool:
            worker = await system.database["meta"].find_one({"edition": edition})
            return worker is not None

        await eventually(is_adopted, "the worker's adoption")
        before = await shown(system, DEFINED[1])
        await system.publish(*events[50:])
        await system.until_drained()
        assert await shown(system, DEFINED[1]) == before
        with pytest.raises(ServiceError) as refusal:
            await definitions.put(DEFINED[1], actor="test")
        assert refusal.value.reason is Reason.BOARD_DEFINITION_INVALID


@pytest.mark.parametrize(
    ("definition", "field"),
    [
        (Definition("Board"), "name"),
        (Definition("board", "a\ntitle"), "title"),
        (Definition("board", sources=()), "sources"),
        (Definition("board", sources=("all", "quiz:a")), "sources"),
        (Definition("board", sources=("team:a",)), "sources"),
        (Definition("board", sources=QUIZ, aggregate="best"), "aggregate"),
        (Definition("board", sources=("tag:red",), aggregate="best"), "aggregate"),
        (Definition("board", sources=("tag:Red",)), "sources"),
        (Definition("board", sources=("tag:" + "a" * 33,)), "sources"),
        (Definition("board", aggregate="latest"), "aggregate"),
        (Definition("board", period="hourly"), "period"),
        (Definition("board", period="range:2026-02-01/2026-01-01"), "period"),
        (Definition("board", time_zone="Mars/Olympus"), "time_zone"),
        (Definition("board", segment="country:XX"), "segment"),
        (Definition("board", segment="continent:EU"), "segment"),
        (Definition("board", segment="teams:"), "segment"),
        (Definition("board", segment="teams:most"), "segment"),
        (Definition("board", segment="teams:best"), "segment"),
        (Definition("board", segment="teams:best:0"), "segment"),
        (Definition("board", segment="teams:best:03"), "segment"),
        (Definition("board", segment="teams:best:501"), "segment"),
        (Definition("board", segment="teams:sum:3"), "segment"),
        (Definition("board", segment="teams:sum,country:VN"), "segment"),
        (Definition("board", segment="teams:sum", order="asc"), "segment"),
        (Definition("board", segment="group:"), "segment"),
        (Definition("board", segment="group:friends"), "segment"),
        (Definition("board", segment=f"{GROUP}0"), "segment"),
        (Definition("board", segment=GROUP), "segment"),  # there is no group with this id
        (Definition("declared"), "name"),
    ],
)
async def test_definition_that_cannot_be_is_refused_with_its_field(
    system: ScoreSystem, definition: Definition, field: str
) -> None:
    system.placement.catalog.update([], edition=0, numbers=0)
    system.placement.catalog.definitions = {"declared": Definition("declared", declared=True)}
    with pytest.raises(ServiceError) as refusal:
        await definitions_of(system).put(definition, actor="test")
    assert refusal.value.reason is Reason.BOARD_DEFINITION_INVALID
    assert [violation[0] for violation in refusal.value.violations] == [f"definition.{field}"]
    assert (await definitions_of(system).all(0))[0] == 0, "nothing is stored"


async def test_order_period_and_division_of_a_board_stay(system: ScoreSystem) -> None:
    definitions = definitions_of(system)
    await definitions.put(Definition("board", period="weekly"), actor="test")
    await definitions.put(Definition("teams", segment="teams:sum"), actor="test")
    await definitions_of(system, GROUP, OTHER_GROUP).put(Definition("friends", segment=GROUP), actor="test")
    for changed in (
        Definition("board", period="daily"),
        Definition("board", period="weekly", time_zone="Asia/Tokyo"),
        Definition("board", period="weekly", order="asc"),
        Definition("board", period="weekly", segment="each-country"),
        Definition("board", period="weekly", segment="teams:mean"),
        Definition("teams", segment="all"),
        Definition("teams", segment="country:VN"),
        Definition("teams", segment="each-country"),
        Definition("teams", segment=GROUP),
        Definition("board", period="weekly", segment=GROUP),
        Definition("friends", segment=OTHER_GROUP),
        Definition("friends", segment="all"),
        Definition("friends", segment="each-country"),
        Definition("friends", segment="teams:sum"),
    ):
        with pytest.raises(ServiceError) as refusal:
            await definitions_of(system, GROUP, OTHER_GROUP).put(changed, actor="test")
        assert refusal.value.reason is Reason.BOARD_DEFINITION_INVALID
        assert len(refusal.value.violations) == 1


async def test_how_teams_score_changes_without_another_count(system: ScoreSystem) -> None:
    definitions = definitions_of(system)
    first, _ = await definitions.put(Definition("teams", sources=RUN, segment="teams:sum"), actor="test")
    async with system.worker():
        await until_ready(system)
    second, changed = await definitions.put(replace(first, segment="teams:best:500"), actor="test")
    assert (second.segment, second.state, second.number, changed) == ("teams:best:500", "ready", first.number, True)
    _, listed = await definitions.all(0)
    assert [(each.definition.segment, each.definition.version) for each in listed] == [("teams:best:500", 2)]


async def test_player_is_on_a_bounded_number_of_boards(system: ScoreSystem) -> None:
    definitions = definitions_of(system)
    for number in range(MAX_PER_PLAYER):
        await definitions.put(Definition(f"board-{number}", segment="country:VN"), actor="test")
    await definitions.put(Definition("elsewhere", segment="country:DE"), actor="test")
    with pytest.raises(ServiceError) as refusal:
        await definitions.put(Definition("one-more"), actor="test")
    assert refusal.value.reason is Reason.LIMIT_REACHED
    with pytest.raises(ServiceError) as unfilled:
        await definitions.archive("board-0", actor="test")
    assert unfilled.value.reason is Reason.UNAVAILABLE, "its last state would be an incomplete one"
    async with system.worker():
        await until_ready(system)
    await definitions.archive("board-0", actor="test")
    await definitions.put(Definition("one-more"), actor="test")


def test_counters_of_equal_definitions_are_one() -> None:
    one, other = Definition("one", sources=("quiz:b", "quiz:a")), Definition("other", sources=("quiz:a", "quiz:b"))
    assert one.counter == other.counter
    assert NumberedCounter(1, one.counter) == NumberedCounter(1, other.counter)
    assert one.counter != Definition("count", sources=one.sources, aggregate="count").counter
