"""Boards of the members of a group: every read path shows them and nobody else, and who they are is what identity says."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import methodcaller
from pathlib import Path
from random import Random
from typing import Any, Final, get_args

import pytest
import pytest_asyncio
from bson import ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import AsyncMongoClient
from redis.asyncio import Redis

from services.boards.board import GENERATION_KEY, Board
from services.boards.catalog import Catalog
from services.boards.definition import Definition, Order, Ranks
from services.boards.encoding import ENCODING
from services.boards.periods.closed import BOARDS, DATABASE, ENTRIES, ClosedBoard
from services.boards.sharding import SHARDING_KEY, Sharding
from services.cli.system.client import GraphqlClient
from services.leaderboard.reading.frames import Frames, position
from services.leaderboard.reading.names import Name
from services.leaderboard.reading.rosters import Roster, Team
from services.runtime.clock import utc_now
from services.runtime.stores.mongo import open_mongo
from tests.deadline import eventually
from tests.players import Player, register, stream, until
from tests.servers import RunningStack, run_topten, unique
from tests.system.accounts.erasure_scene import EXPORT
from tests.system.accounts.test_groups import DELETE, JOIN, LEAVE, PUT, REMOVE, ask, refused
from tests.system.actions.test_player_actions import admin, define, submit
from tests.system.boards.seeded import FixedRosters, reader
from tests.system.boards.test_boards_as_data import VOID, put, until_ready
from tests.system.boards.test_defined_boards import RUN, definitions_of
from tests.system.boards.test_defined_boards import until_ready as until_built
from tests.system.boards.test_rank_queries import CLOSED
from tests.system.graphql import Web
from tests.system.score import ScoreSystem
from tests.system.views.test_team_boards import NO_MONGO, PLAYERS, VALUES, Everything, until_me, write

__all__ = ["admin"]
SHARDED: Final = "custom:sharded-friends=3"
GROUP_ID: Final = "0198c0de-0000-7000-8000-000000000001"
SEGMENT: Final = f"group:{GROUP_ID}"


@pytest_asyncio.fixture(scope="module")
async def live(redis: Redis) -> AsyncIterator[Everything]:
    await redis.set(GENERATION_KEY, 1)
    await redis.set(SHARDING_KEY, SHARDED)
    async with open_mongo(NO_MONGO, "boards", wait=False) as unreachable:
        catalog, rosters = Catalog(sharding=Sharding(SHARDED)), FixedRosters()
        yield Everything(reader(redis, unreachable.database, catalog=catalog, rosters=rosters), catalog, rosters)


def roster_of(*members: str, edition: int = 1) -> Roster:
    return Roster(edition, [Team(GROUP_ID, "", members, [0] * len(members))])


@pytest.mark.parametrize("name", ["one-key-friends", "sharded-friends"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(PLAYERS, VALUES, max_size=16),
    st.sets(PLAYERS, max_size=10),
    st.sampled_from(get_args(Order)),
    st.integers(0, 6),
    st.sampled_from(get_args(Ranks)),
    st.integers(1, 4),
    st.floats(0.1, 100),
)
async def test_members_are_read_as_if_nobody_else_played(
    redis: Redis,
    live: Everything,
    name: str,
    values: dict[str, float],
    members: set[str],
    order: Order,
    size: int,
    ranks: Ranks,
    length: int,
    percentile: float,
) -> None:
    size = size or (1000 if ranks == "dense" else 0)
    friends = Definition(name, order=order, size=size, ranks=ranks, segment=SEGMENT)
    alone = replace(friends, name="alone", segment="all")
    live.catalog.update([friends, alone], edition=1, numbers=0)
    live.rosters.rosters = {name: roster_of(*sorted(members))}
    await write(redis, live.catalog, Board("custom", name), values)
    await write(
        redis, live.catalog, Board("custom", "alone"), {each: values[each] for each in values if each in members}
    )

    async def both(question: str, *arguments: Any) -> tuple[Any, Any]:
        found = [
            await live.boards.read(Board("custom", each), methodcaller(question, *arguments))
            for each in (name, "alone")
        ]
        return found[0], found[1]

    def same(shown: Any, expected: Any) -> bool:
        return [*shown.members] == [*expected.members] and all(
            getattr(shown, each, None) == getattr(expected, each, None)
            for each in ("first", "total", "above", "shared_ranks", "titles")
        )

    assert same(*await both("head", length))
    last = None
    while True:
        page, expected = await both("page", length, last)
        assert same(page, expected)
        if not page.members:
            break
        last = page.members[-1]
    for player in [*values, "nobody"]:
        assert same(*await both("around", player, length))
        assert len({str(each) for each in await both("ahead", 2.0, player)}) == 1
    for question, *arguments in (("total",), ("quantile", percentile), ("standings", [*values, "nobody"])):
        shown, expected = await both(question, *arguments)
        assert shown == expected, question


class Plain:
    """Names of players: their ids."""

    async def of(self, user_ids: Any) -> Mapping[str, Name]:
        return {each: Name(each, "NR") for each in user_ids}


async def test_frames_follow_members_and_never_go_backwards(redis: Redis, live: Everything) -> None:
    name = unique("friends-")[:20]
    frozen = Definition(
        name, period="range:2020-01-01/2100-01-01", freezes_before=2_500_000_000, freeze_changes=1, freeze_number=1,
        segment=SEGMENT,
    )  # fmt: skip
    live.catalog.update([frozen], edition=3, numbers=1)
    frames = Frames(live.boards, Plain(), live.catalog, now=utc_now)  # type: ignore[arg-type]  # has what is read
    await write(redis, live.catalog, Board("custom", name), {"a": 9.5, "b": 7.5, "c": 8.5})
    await write(redis, live.catalog, Board("custom", f"{name}_until_freeze"), {"a": 3.5, "c": 4.5})
    seen: list[tuple[int, int]] = []

    async def shown(roster: Roster) -> list[tuple[str, int, int]]:
        live.rosters.rosters = {name: roster}
        reading = await frames.read(Board("custom", name), 10)
        seen.append(position(reading.frame))
        assert reading.movers is not None
        assert all(each in reading.movers for team in roster.teams for each in team.user_ids)
        assert "d" not in reading.movers
        return [(each.username, each.score, each.rank) for each in reading.frame.entries]

    assert await shown(roster_of("a", "b")) == [("a", 3, 1)], "what members had at the freeze"
    assert await shown(roster_of("a", "b", "c", edition=2)) == [("c", 4, 1), ("a", 3, 2)]
    live.catalog.update([replace(frozen, freezes_before=0, freeze_changes=2)], edition=4, numbers=1)
    assert await shown(roster_of("a", "b", edition=3)) == [("a", 9, 1), ("b", 7, 2)]
    assert await shown(Roster(2**20, ())) == [], "the group is deleted"
    assert seen == sorted(set(seen)), "each frame is later than the one before"
    assert seen[-1][1] < 2**53


DOCUMENT: Final = """query ($board: BoardInput!, $user: ID!) {
  getLeaderboard(board: $board) { userId username score rank country gapToNext }
  leaderboard(board: $board, first: 1) {
    totalCount board { ranksTeams } me { userId rank score } edges { node { username } } pageInfo { hasNextPage }
  }
  aroundPlayer(board: $board, userId: $user) { entries { userId rank } }
  ranks(board: $board, userIds: [$user]) { entries { userId score rank } notFound }
  percentile(board: $board, userId: $user)
  scoreForPercentile(board: $board, percentile: 100)
  rankIfScore(board: $board, points: 14)
  me { rank(board: $board) }
  boards { key totalCount }
}"""


async def founded(owner: Player, *members: Player) -> tuple[str, str]:
    """Return the id and the invite code of a new group."""
    group = (await ask(owner, PUT, input={"title": "Friends", "groupId": str(uuid.uuid4())}))["group"]
    for member in members:
        await ask(member, JOIN, code=group["inviteCode"])
    return group["groupId"], group["inviteCode"]


def scores(data: dict[str, Any]) -> list[tuple[str, int]]:
    """Return the players of a frame with their points."""
    return [(entry["username"], entry["score"]) for entry in data["leaderboard"]]


async def test_members_alone_are_on_every_read_path_from_joining_until_leaving(
    stack: RunningStack, client: GraphqlClient, web: Web, admin: str
) -> None:
    run = await define(client, admin, "perUnit")  # two points a unit
    ada, ben, cleo, stranger = [await register(client, country="NR") for _ in range(4)]
    group_id, code = await founded(ada, ben)
    for player, quantity in ((ada, 3), (ben, 5), (cleo, 4), (stranger, 9)):
        await submit(player, run, quantity=quantity, wait="COUNTED")
    name = unique("friends-")[:32]
    board = {"kind": "CUSTOM", "name": name}
    defined = await put(client, admin, name=name, sources=[f"action:{run}"], segment=f"group:{group_id}")
    assert defined["board"]["segment"] == f"group:{group_id}"
    await until_ready(client, admin, name)

    async with stream(stack.http, ben.access_token, f"custom:{name}") as events:
        await until(events, lambda data: scores(data) == [(ben.username, 10), (ada.username, 6)])
        await ask(cleo, JOIN, code=code)
        joined = await until(events, lambda data: (cleo.username, 8) in scores(data))
        result = await submit(stranger, run, quantity=1, wait="COUNTED", boards=[board])
        assert [(each["rank"], each["score"]) for each in result["standings"]] == [(None, 0)], (
            "who is no member has no place"
        )
        result = await submit(ada, run, quantity=4, wait="COUNTED", boards=[board])
        assert [(each["rank"], each["score"]) for each in result["standings"]] == [(1, 14)]
        await until_me(events, rank=2, score=10)

        async def answer() -> dict[str, Any] | None:
            said = await web.graphql(DOCUMENT, {"board": board, "user": cleo.user_id}, token=stranger.access_token)
            assert "errors" not in said.body, said.body
            data: dict[str, Any] = said.body["data"]
            return data if [each["score"] for each in data["getLeaderboard"]] == [14, 10, 8] else None

        data = await eventually(answer, "every instance has the members")
        assert data is not None
        assert data["getLeaderboard"][1] == {
            "userId": ben.user_id, "username": ben.username, "score": 10, "rank": 2, "country": "NR", "gapToNext": 4,
        }  # fmt: skip
        page = data["leaderboard"]
        assert (page["totalCount"], page["board"], page["me"]) == (3, {"ranksTeams": False}, None)
        assert ([each["node"]["username"] for each in page["edges"]], page["pageInfo"]) == (
            [ada.username],
            {"hasNextPage": True},
        )
        ranked = [(ada.user_id, 1), (ben.user_id, 2), (cleo.user_id, 3)]
        assert [(each["userId"], each["rank"]) for each in data["aroundPlayer"]["entries"]] == ranked
        assert data["ranks"] == {"entries": [{"userId": cleo.user_id, "score": 8, "rank": 3}], "notFound": []}
        numbers = (data["percentile"], data["scoreForPercentile"], data["rankIfScore"], data["me"]["rank"])
        assert numbers == (pytest.approx(100 / 3), 14, 2, None)
        assert {"key": f"custom:{name}", "totalCount": 3} in data["boards"]
        proven = "query ($board: BoardInput!) { proof(board: $board) { rank } }"
        assert await refused(ada, proven, board=board) == "INVALID_ARGUMENT"

        assert await ask(ada, REMOVE, id=group_id, user=ben.user_id) is True
        left = await until(events, lambda data: scores(data) == [(ada.username, 14), (cleo.username, 8)])
        await ask(ada, LEAVE, id=group_id)
        await until(events, lambda data: scores(data) == [(cleo.username, 8)])
        assert await ask(cleo, DELETE, id=group_id) is True
        gone = await until(events, lambda data: scores(data) == [])
        positions = [tuple(map(int, each.id.split("-"))) for each in (joined, left, gone)]
        assert positions == sorted(set(positions))
    impostors = {"title": "Impostors", "groupId": group_id}
    assert await refused(stranger, PUT, input=impostors) == "GROUP_NOT_FOUND", "the board was defined for others"
    archived = (await run_topten("board", "archive", name, data=stack.data)).stdout
    assert name in archived


async def test_closed_period_has_those_who_joined_before_its_end(
    stack: RunningStack, client: GraphqlClient, admin: str
) -> None:
    early, late, outside = [await register(client) for _ in range(3)]
    group_id, _ = await founded(early, late)
    name = unique("friends-")[:32]
    await put(client, admin, name=name, period="weekly", segment=f"group:{group_id}")
    await until_ready(client, admin, name)
    week, copy_id = {"kind": "CUSTOM", "name": name, "period": "2026-W40"}, ObjectId()
    ends_at = datetime(2026, 10, 5, tzinfo=UTC)
    closed = ClosedBoard(
        f"custom:{name}:2026-W40",
        f"custom:{name}",
        copy_id,
        3,
        1,
        9,
        ends_at,
        ends_at,
        ENCODING,
        ends_at - timedelta(7),
    )
    mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"])
    async with mongo:
        joined = {"$set": {"members.0.joined_at": ends_at - timedelta(seconds=1)}, "$inc": {"edition": 1}}
        await mongo["topten_identity"]["groups"].update_one({"_id": group_id}, joined)
        places = enumerate((outside, late, early), start=1)
        entries = [{"made": copy_id, "rank": n, "user_id": each.user_id, "value": 40.5 - n} for n, each in places]
        await mongo[f"topten_{DATABASE}"][ENTRIES].insert_many(entries)
        await mongo[f"topten_{DATABASE}"][BOARDS].insert_one(closed.to_document())

    async def is_shown() -> bool:
        entries = await outside.top(week)
        return [(each["userId"], each["rank"], each["score"]) for each in entries] == [(early.user_id, 1, 37)]

    await eventually(is_shown, "the member of that time alone")
    listed = await ask(outside, CLOSED, board={"kind": "CUSTOM", "name": name}, first=2)
    assert [edge["node"]["board"]["totalCount"] for edge in listed["edges"]] == [1]
    assert await refused(outside, "query ($board: BoardInput!) { proof(board: $board) { rank } }", board=week) == (
        "INVALID_ARGUMENT"
    )
    places_of = [(early, [{"board": closed.name, "rank": 1, "score": 37, "stale": False}]), (late, []), (outside, [])]
    for player, expected in places_of:
        exported = (await ask(player, EXPORT))["data"]["closedPeriods"]
        assert [each for each in exported if each["board"] == closed.name] == expected


async def test_group_of_a_board_exists_and_stays(
    stack: RunningStack, client: GraphqlClient, admin: str, tmp_path: Path
) -> None:
    owner = await register(client)
    group_id, _ = await founded(owner)
    for fields, why in (
        ({"segment": f"group:{uuid.uuid4()}"}, "segment: has the ID of a group that does not exist"),
        ({"segment": "group:friends"}, "segment: must have the ID of a group"),
    ):
        with pytest.raises(Exception, match=why):
            await put(client, admin, name=unique("friends-")[:32], **fields)
    name = unique("friends-")[:32]
    assert (await put(client, admin, name=name, segment=f"group:{group_id}"))["changed"] is True
    assert (await put(client, admin, name=name, segment=f"group:{group_id}"))["changed"] is False
    with pytest.raises(Exception, match="cannot change to or from a group"):
        await put(client, admin, name=name, segment="all")
    definition = tmp_path / "board.json"
    definition.write_text(json.dumps({"name": f"{name}-2"[-32:], "sources": ["all"], "segment": f"group:{group_id}"}))
    assert f"{name}-2"[-32:] in (await run_topten("board", "put", str(definition), data=stack.data)).stdout


@pytest.mark.parametrize("seed", range(3))
async def test_board_of_a_group_is_what_a_plain_model_says(client: GraphqlClient, admin: str, seed: int) -> None:
    """Joins, leaves, actions and voids in any order; the board is defined among them."""
    random = Random(seed)
    run = await define(client, admin, "perUnit")
    owner, *others = players = [await register(client) for _ in range(5)]
    group_id, code = await founded(owner)
    name, defined_at = unique("sweep-")[:32], random.randrange(20)
    members, points = {owner.user_id}, {each.user_id: 0 for each in players}
    actions: list[tuple[Player, str, int]] = []

    async def act() -> None:
        player, action_id, quantity = random.choice(players), str(uuid.uuid4()), random.randint(1, 9)
        await submit(player, run, actionId=action_id, quantity=quantity, wait="COUNTED")
        actions.append((player, action_id, 2 * quantity))
        points[player.user_id] += 2 * quantity

    async def void() -> None:
        if actions:
            player, action_id, worth = actions.pop(random.randrange(len(actions)))
            stated = {"userId": player.user_id, "actionId": action_id, "reason": "a mistake"}
            await client.execute(VOID, {"input": stated}, admin)
            points[player.user_id] -= worth

    async def join() -> None:
        player = random.choice(others)
        await ask(player, JOIN, code=code)
        members.add(player.user_id)

    async def leave() -> None:
        player = random.choice(others)
        await ask(player, LEAVE, id=group_id)
        members.discard(player.user_id)

    async def is_right() -> bool:
        entries = await owner.top({"kind": "CUSTOM", "name": name})
        expected = sorted((points[each] for each in members if points[each]), reverse=True)
        shown = {each["userId"]: each["score"] for each in entries}
        return [each["score"] for each in entries] == expected and all(
            points[each] == score and each in members for each, score in shown.items()
        )

    for step in range(40):
        await random.choice([act, act, void, join, leave])()
        if step == defined_at:
            await put(client, admin, name=name, sources=[f"action:{run}"], segment=f"group:{group_id}")
            await until_ready(client, admin, name)
        if step >= defined_at and random.random() < 0.4:
            await eventually(is_right, f"the members of step {step}")
    await eventually(is_right, "the members in the end")


async def test_board_of_a_group_outlives_it_and_counts_everybody(system: ScoreSystem) -> None:
    definitions = definitions_of(system, SEGMENT)
    first, _ = await definitions.put(Definition("friends", sources=RUN, segment=SEGMENT), actor="test")
    plain, _ = await definitions.put(Definition("everybody", sources=RUN), actor="test")
    assert (first.number, first.includes("VN"), first.includes("")) == (plain.number, True, True)
    async with system.worker():
        await until_built(system)
    titled, changed = await definitions_of(system).put(replace(first, title="Friends"), actor="test")
    assert (titled.title, titled.state, titled.number, changed) == ("Friends", "ready", first.number, True)


def test_who_joins_when_a_period_is_over_is_not_on_its_board() -> None:
    end = datetime(2026, 11, 23, tzinfo=UTC)
    at = int(end.timestamp()) * 1000
    roster = Roster(3, [Team(GROUP_ID, "", ["a", "b", "c"], [at - 1, at, at + 1])])
    assert list(roster.until(end).teams_of) == ["a"]
