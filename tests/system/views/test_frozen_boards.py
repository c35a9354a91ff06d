"""Boards that freeze before their period ends: what was counted of the time before, on every read path, and then the truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import grpc
import pytest
from google.protobuf import json_format, message_factory
from redis.asyncio import Redis
from topten.quiz.v1 import quiz_events_pb2

from services.boards.board import GENERATION_KEY, Board
from services.boards.catalog import Catalog
from services.boards.definition import Definition
from services.boards.periods.closed import DATABASE
from services.cli.system.client import GraphqlClient
from services.leaderboard.reading.frames import Frames
from services.leaderboard.reading.names import Name
from services.runtime.clock import utc_now
from services.runtime.config.settings import MongoConfig
from services.runtime.errors import ServiceError
from services.runtime.stores.mongo import open_mongo
from services.score.definitions.service import MAX_PER_PLAYER
from services.score.definitions.store import DefinitionStore
from services.streams import ACTION_VOIDED
from tests.deadline import deadline_seconds, eventually
from tests.players import Player, register, stream
from tests.servers import RunningStack, unique
from tests.system.access.permissions import FIELDS, METHODS
from tests.system.access.test_board_tokens import ISSUE, moderator
from tests.system.accounts.test_groups import PUT as PUT_GROUP
from tests.system.actions.test_player_actions import admin, define, submit
from tests.system.boards.seeded import reader
from tests.system.boards.test_boards_as_data import put, until_ready
from tests.system.boards.test_defined_boards import definitions_of, expected, shown
from tests.system.boards.test_defined_boards import until_ready as until_boards_are_ready
from tests.system.graphql import Web
from tests.system.score import QuizCompleted, ScoreSystem, completed

__all__ = ["admin", "moderator"]
START: Final = utc_now().replace(microsecond=0) - timedelta(hours=1)
FREEZE: Final = START + timedelta(minutes=30)
END: Final = START + timedelta(days=1)
RANGE: Final = f"range:{START.isoformat()}/{END.isoformat()}"
BEFORE_END: Final = int((END - FREEZE).total_seconds())
CUP: Final = Definition("cup", period=RANGE, freezes_before=BEFORE_END)
NO_MONGO: Final = MongoConfig(url="mongodb://127.0.0.1:1/?replicaSet=none")


def around_the_freeze(count: int, seed: int) -> list[QuizCompleted]:
    """Return events of a few players over the hour in whose middle the board freezes, in no order."""
    random_source = Random(seed)
    attempts: dict[str, int] = {}
    events = []
    for number in range(count):
        player = f"player-{random_source.randrange(12)}"
        attempts[player] = attempts.get(player, 0) + 1
        at = START + timedelta(seconds=number * 3600 // count)
        events.append(completed(player, random_source.randrange(1, 50), attempt=attempts[player], total=1, at=at))
    random_source.shuffle(events)
    return events


def void_of(event: QuizCompleted) -> quiz_events_pb2.ActionVoidedEvent:
    void = quiz_events_pb2.ActionVoidedEvent(event_id=f"void-{event.event_id}", event_type=ACTION_VOIDED)
    payload = void.payload
    payload.user_id, payload.quiz_id = event.payload.user_id, event.payload.quiz_id
    payload.action_id, payload.voided_event_id = event.payload.action_id, event.event_id
    payload.score_delta, payload.attempt = -event.payload.score_delta, 1000 + event.payload.attempt
    payload.timestamp.CopyFrom(event.payload.timestamp)  # it counts at the time of what it takes back
    return void


async def until_built(system: ScoreSystem) -> None:
    """Wait until every board and every copy is built."""
    store = DefinitionStore(system.mongo.client[f"{system.prefix}_{DATABASE}"])

    async def has_copies() -> bool:
        return all(each.freeze_state == "ready" for each in (await store.read()).boards.values())

    await eventually(has_copies, "copies that are ready")
    await until_boards_are_ready(system)


def at_the_freeze(events: Sequence[QuizCompleted]) -> dict[str, int]:
    """Return the points of the players at the freeze, by plain words."""
    happened = [event for event in events if event.payload.timestamp.ToDatetime(UTC) < FREEZE]
    return next(iter(expected(CUP, happened).values()))


async def copy_in_redis(system: ScoreSystem) -> dict[str, int]:
    return (await shown(system, replace(CUP, name="cup_until_freeze"))).get("custom:cup_until_freeze", {})


async def is_as_expected(system: ScoreSystem, events: Sequence[QuizCompleted]) -> None:
    async def has_both() -> bool:
        everything = await shown(system, CUP)
        return (await copy_in_redis(system), everything) == (at_the_freeze(events), expected(CUP, events))

    await eventually(has_both, "the board, and its copy until the freeze")
    await system.until_drained()
    assert await system.verify() == []


async def test_standings_at_the_freeze_follow_from_the_ledger(system: ScoreSystem) -> None:
    events = around_the_freeze(240, seed=3)
    async with system.worker(), system.worker():
        await system.publish(*events[:80])
        definitions = definitions_of(system)
        await definitions.put(CUP, actor="test")
        await system.publish(*events[80:160])
        await until_built(system)
        await system.publish(*events[160:], copies=2)
        await is_as_expected(system, events)
        taken_back = [event for event in events if event.payload.attempt % 5 == 0]
        for event in taken_back:
            await system.publish_bytes(event.payload.user_id, void_of(event).SerializeToString())
        kept = [event for event in events if event not in taken_back]
        await is_as_expected(system, kept)
        await system.redis.flushall()
        await is_as_expected(system, kept)
    async with system.worker():  # nothing of it was in memory alone
        await system.redis.flushall()
        await is_as_expected(system, kept)


async def test_changed_freeze_never_touches_the_count_of_its_board(system: ScoreSystem) -> None:
    events = around_the_freeze(60, seed=4)
    plain = replace(CUP, freezes_before=0)
    async with system.worker():
        await system.publish(*events)
        await system.until_drained()
        definitions = definitions_of(system)
        await definitions.put(plain, actor="test")
        await until_built(system)
        version = await system.redis.hget("{leaderboard:custom:cup}:meta", "version")
        frozen, changed = await definitions.put(CUP, actor="test")
        assert (frozen.state, frozen.freeze_state, frozen.version, changed) == ("ready", "building", 2, True)
        assert (await definitions.put(CUP, actor="test"))[1] is False
        await until_built(system)
        await is_as_expected(system, events)
        assert await system.redis.hget("{leaderboard:custom:cup}:meta", "version") == version
        titled, _ = await definitions.put(replace(CUP, title="Cup"), actor="test")
        assert (titled.freeze_state, titled.freeze_number) == ("ready", frozen.freeze_number), "a title builds nothing"
        thawed, _ = await definitions.put(plain, actor="test")
        assert (thawed.state, thawed.freeze_number, thawed.freeze_changes) == ("ready", 0, 2)
        await until_built(system)
        assert await system.verify() == [], "what is left of the copy is no finding"


async def test_board_with_a_freeze_counts_as_two(system: ScoreSystem) -> None:
    definitions = definitions_of(system)
    for number in range(MAX_PER_PLAYER // 2):
        await definitions.put(replace(CUP, name=f"cup-{number}"), actor="test")
    with pytest.raises(ServiceError, match="at most 50"):
        await definitions.put(Definition("plain"), actor="test")
    assert (await definitions.put(replace(CUP, name="cup-0", freezes_before=60), actor="test"))[1], "as many as before"


class Everybody:
    """The names of players who are not in identity."""

    async def of(self, user_ids: Sequence[str]) -> dict[str, Name]:
        return {user_id: Name(user_id, "") for user_id in user_ids}


async def test_frames_show_the_copy_then_the_truth_and_never_go_backwards(redis: Redis) -> None:
    await redis.set(GENERATION_KEY, 1)
    name = unique("cup-")[:20]
    definition = Definition(name, period=RANGE, freezes_before=BEFORE_END, freeze_changes=1, freeze_number=1)
    await redis.zadd(f"leaderboard:custom:{name}", {"late": 90.5})
    await redis.zadd(f"leaderboard:custom:{name}_until_freeze", {"early": 10.5})
    await redis.hset(f"{{leaderboard:custom:{name}}}:meta", mapping={"generation": 1, "version": 3})
    await redis.hset(f"{{leaderboard:custom:{name}_until_freeze}}:meta", mapping={"generation": 1, "version": 9})
    catalog, clock = Catalog(defined=[definition]), [FREEZE]
    async with open_mongo(NO_MONGO, "boards", wait=False) as unreachable:
        boards = reader(redis, unreachable.database, catalog=catalog, now=lambda: clock[0])
        frames = Frames(boards, Everybody(), catalog, now=lambda: clock[0])  # type: ignore[arg-type]  # no identity here
        board, seen = Board("custom", name), []
        for now in (FREEZE - timedelta(seconds=1), FREEZE, END - timedelta(milliseconds=1)):
            clock[0] = now
            frame = (await frames.read(board, 10)).frame
            assert [entry.user_id for entry in frame.entries] == ["early"]
            assert frame.HasField("frozen_since") is (now >= FREEZE)
            seen.append(frame.version)
        # A copy that is built too late shows what it has so far, and never the board itself.
        catalog.update([replace(definition, freeze_state="building")], edition=1, numbers=0)
        clock[0] = FREEZE
        frame = (await frames.read(board, 10)).frame
        assert ([entry.user_id for entry in frame.entries], frame.stale) == (["early"], True)
        # The archive of this test is away, so the end is read as if it had not been reached by it.
        catalog.update([replace(definition, freezes_before=0, freeze_changes=2)], edition=2, numbers=0)
        frame = (await frames.read(board, 10)).frame
        assert [entry.user_id for entry in frame.entries] == ["late"]
        assert not frame.HasField("frozen_since")
        assert [*seen, frame.version] == sorted([*seen, frame.version])
        assert frame.version > seen[-1]


READS: Final = {
    name: method
    for name, method in METHODS.items()
    if name.startswith("leaderboard.") and "board" in method.input_type.fields_by_name
}
# Which boards and periods there are, and proofs of closed ones, say nothing of standings.
WITHOUT_STANDINGS: Final = {
    "leaderboard.ListClosedPeriods",
    "leaderboard.GetProof",
    "Query.closedPeriods",
    "Query.proof",
}
DOCUMENT: Final = """query ($board: BoardInput!, $user: ID!, $group: ID!) {
  getLeaderboard(board: $board) { score rank }
  leaderboard(board: $board) { totalCount me { score rank } edges { node { score rank } } }
  aroundPlayer(board: $board, userId: $user) { entries { score rank } }
  ranks(board: $board, userIds: [$user]) { entries { score rank } notFound }
  percentile(board: $board, userId: $user)
  scoreForPercentile(board: $board, percentile: 50)
  rankIfScore(board: $board, points: 1)
  groupLeaderboard(board: $board, groupId: $group) { edges { node { score rank } } }
  me { rank(board: $board) }
}"""
FROZEN: Final = """query ($board: BoardInput!) {
  getLeaderboard(board: $board) { score } leaderboard(board: $board) { board { frozenSince period endsAt } }
}"""
LEFT_OUT: Final = frozenset({"frozenSince", "timestamp", "version", "generation", "cursor"})
STREAM: Final = "/api/v1/leaderboard/stream"


async def answers(stack: RunningStack, web: Web, name: str, player: Player, group_id: str) -> dict[str, Any]:
    """Return what every read path says of a board, without its name and its times."""
    found: dict[str, Any] = {}
    fields = {
        "board": f"custom:{name}", "user_ids": [player.user_id], "user_id": player.user_id, "percentile": 50, "points": 1,
        "group_id": group_id,
    }  # fmt: skip
    for path, method in READS.items():
        if path in WITHOUT_STANDINGS:
            continue
        given = {key: value for key, value in fields.items() if key in method.input_type.fields_by_name}
        request = json_format.ParseDict(given, message_factory.GetMessageClass(method.input_type)())
        response: Any = message_factory.GetMessageClass(method.output_type)
        codec = {"request_serializer": type(request).SerializeToString, "response_deserializer": response.FromString}
        metadata = (("authorization", f"Bearer {player.access_token}"),)
        address = f"/{method.containing_service.full_name}/{method.name}"
        async with grpc.aio.insecure_channel(stack.endpoints["grpc"]["leaderboard"]) as channel:
            if method.server_streaming:
                call = channel.unary_stream(address, **codec)(request, metadata=metadata, timeout=deadline_seconds())
                message: Any = await call.read()
                call.cancel()
            else:
                message = await channel.unary_unary(address, **codec)(
                    request, metadata=metadata, timeout=deadline_seconds()
                )
        found[path] = json_format.MessageToDict(message)
    variables = {"board": {"kind": "CUSTOM", "name": name}, "user": player.user_id, "group": group_id}
    answer = await web.graphql(DOCUMENT, variables, token=player.access_token)
    assert "errors" not in answer.body, answer.body
    found |= {f"Query.{field}": value for field, value in answer.body["data"].items()}
    async with stream(stack.http, player.access_token, f"custom:{name}") as events:
        async for event in events:
            found.setdefault(f"{STREAM} {event.name}", event.data)
            if {f"{STREAM} update", f"{STREAM} me"} <= found.keys():
                break
    return {path: json.dumps(without(value, LEFT_OUT)).replace(name, "") for path, value in found.items()}


def without(value: Any, names: frozenset[str]) -> Any:
    """Return data without the fields of these names."""
    if isinstance(value, dict):
        return {name: without(each, names) for name, each in value.items() if name not in names}
    return [without(each, names) for each in value] if isinstance(value, list) else value


async def test_frozen_board_answers_everywhere_as_one_on_which_nobody_stands(
    stack: RunningStack, client: GraphqlClient, web: Web, admin: str, moderator: str
) -> None:
    walk, never = await define(client, admin, "fixed"), await define(client, admin, "fixed")
    player = await register(client)
    await submit(player, walk, wait="COUNTED")
    group = (await client.execute(PUT_GROUP, {"input": {"title": "G"}}, player.access_token))["putGroup"]["group"]
    names = {kind: unique(f"{kind}-")[:32] for kind in ("frozen", "open", "empty")}
    ended = {"period": RANGE, "sources": [f"action:{walk}"]}
    await put(client, admin, name=names["frozen"], **ended, freezesBefore=int((END - START).total_seconds()) - 60)
    await put(client, admin, name=names["open"], **ended)
    await put(client, admin, name=names["empty"], period=RANGE, sources=[f"action:{never}"])
    for name in names.values():
        await until_ready(client, admin, name)
    board = {"kind": "CUSTOM", "name": names["frozen"]}

    said_by: dict[str, dict[str, str]] = {}

    async def is_shown() -> bool:
        for kind, name in names.items():
            said_by[kind] = await answers(stack, web, name, player, group["groupId"])
        said = (await web.graphql(FROZEN, {"board": board}, token=player.access_token)).body
        since = said["data"] and said["data"]["leaderboard"]["board"]["frozenSince"]
        is_ready = not any('"stale": true' in each for found in said_by.values() for each in found.values())
        return (
            is_ready
            and said_by["open"] != said_by["empty"]
            and bool(since)
            and since == said["extensions"]["frozenSince"]
        )

    await eventually(is_shown, "all can be read, the open one has the player, and the frozen one says so")
    frozen, empty, standing = (said_by[kind] for kind in ("frozen", "empty", "open"))
    described = (await web.graphql(FROZEN, {"board": board}, token=player.access_token)).body["data"]["leaderboard"][
        "board"
    ]
    assert (described["period"], bool(described["endsAt"])) == (None, True), "a range has bounds and no name"
    known = {name for name, field in FIELDS.items() if name.startswith("Query.") and "board" in field.args}
    assert known - WITHOUT_STANDINGS <= frozen.keys(), "a new field that reads boards is asked here, too"
    assert frozen == empty
    assert [path for path in standing if standing[path] == empty[path] and path != "Query.rankIfScore"] == []
    # What is counted meanwhile is told nobody either: not by the response, and not by a board token.
    result = await submit(player, walk, wait="COUNTED", boards=[board])
    assert [each["rank"] for each in result["standings"] or ()] in ([None], [])
    token = (await web.graphql(ISSUE, {"board": board}, token=moderator)).body["data"]["boardToken"]["token"]
    async with web.session.get(f"{web.http}{STREAM}?board=custom:{names['frozen']}&token={token}") as response:
        async for line in response.content:
            if line.startswith(b"data: {") and b"leaderboard" in line:
                assert json.loads(line.removeprefix(b"data: "))["leaderboard"] == []
                break


async def test_truth_appears_when_the_period_is_over(stack: RunningStack, client: GraphqlClient, admin: str) -> None:
    walk, player = await define(client, admin, "fixed"), await register(client)
    await submit(player, walk, wait="COUNTED")
    name, end = unique("cup-")[:32], datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=6)
    period = f"range:{START.isoformat()}/{end.isoformat()}"
    await put(
        client, admin, name=name, sources=[f"action:{walk}"], period=period,
        freezesBefore=int((end - START).total_seconds()) - 60,
    )  # fmt: skip
    await until_ready(client, admin, name)
    order: list[tuple[int, int]] = []
    async with stream(stack.http, player.access_token, f"custom:{name}") as events:
        async for event in events:
            if event.name != "update":
                continue
            generation, version = map(int, event.id.split("-"))
            order.append((generation, version))
            scores = [entry["score"] for entry in event.data["leaderboard"]]
            assert scores in ([], [5])
            assert not (scores and event.data["frozenSince"]), "nothing that is frozen has the later points"
            if scores:
                break
    assert order == sorted(order)
    assert [each["score"] for each in await player.top({"kind": "CUSTOM", "name": name})] == [5]


@pytest.mark.parametrize("seconds", [0, -5, 86_400])
async def test_freeze_that_cannot_be_is_refused_with_its_field(client: GraphqlClient, admin: str, seconds: int) -> None:
    name = unique("cup-")[:32]
    if seconds == 0:
        assert (await put(client, admin, name=name, period="daily", freezesBefore=0))["changed"]
        return
    with pytest.raises(Exception, match=r"input\.freezesBefore"):
        await put(client, admin, name=name, period="daily", freezesBefore=seconds)
