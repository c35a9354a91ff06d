"""Boards that rank teams: every read path shows the teams, and their members alone move them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import methodcaller
from typing import Any, Final, get_args

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from services.boards.board import GENERATION_KEY, Board
from services.boards.catalog import Catalog
from services.boards.definition import Definition, Order, Ranks
from services.boards.sharding import SHARDING_KEY, Sharding
from services.cli.system.client import GraphqlClient
from services.leaderboard.reading.boards import Boards
from services.leaderboard.reading.frames import Frames, position
from services.leaderboard.reading.rosters import Roster, Team
from services.leaderboard.team_scores import team_value
from services.runtime.clock import milliseconds_of, utc_now
from services.runtime.config.settings import MongoConfig
from services.runtime.stores.mongo import open_mongo
from tests.deadline import eventually
from tests.players import Event, Player, register, stream, until
from tests.servers import RunningStack, run_topten, unique
from tests.system.access.test_board_tokens import moderator
from tests.system.accounts.test_groups import JOIN, LEAVE, MINE, PUT, ask, refused
from tests.system.actions.test_player_actions import admin, define, submit
from tests.system.boards.seeded import FixedRosters, reader
from tests.system.boards.test_boards_as_data import put, until_ready
from tests.system.graphql import Web

__all__ = ["admin", "moderator"]
NO_MONGO: Final = MongoConfig(url="mongodb://127.0.0.1:1/?replicaSet=none")
SHARDED: Final = "custom:sharded-teams=3"
END: Final = datetime(2100, 1, 1, tzinfo=UTC)
ENTER: Final = (
    "mutation ($id: ID!, $board: String!) { enterBoard(groupId: $id, boardName: $board) { changed group { boards } } }"
)
LEAVE_BOARD: Final = ENTER.replace("enterBoard", "leaveBoard")


class Everything:
    """A live reader, its catalog and the rosters that a test sets."""

    def __init__(self, boards: Boards, catalog: Catalog, rosters: FixedRosters) -> None:
        self.boards = boards
        self.catalog = catalog
        self.rosters = rosters


@pytest_asyncio.fixture(scope="module")
async def live(redis: Redis) -> AsyncIterator[Everything]:
    await redis.set(GENERATION_KEY, 1)
    await redis.set(SHARDING_KEY, SHARDED)
    async with open_mongo(NO_MONGO, "boards", wait=False) as unreachable:
        catalog, rosters = Catalog(sharding=Sharding(SHARDED)), FixedRosters()
        yield Everything(reader(redis, unreachable.database, catalog=catalog, rosters=rosters), catalog, rosters)


def roster_of(members: Mapping[str, Sequence[str]], edition: int = 1, since: int = 0) -> Roster:
    teams = [Team(team, f"Title of {team}", list(ids), [since] * len(ids)) for team, ids in members.items()]
    return Roster(edition, teams)


async def write(redis: Redis, catalog: Catalog, board: Board, values: Mapping[str, float]) -> None:
    """Replace what is on a board, which becomes the next version of it."""
    for shard in catalog.sharding.shards(board):
        await redis.delete(shard.key)
        await redis.hset(shard.meta_key, "generation", 1)
        await redis.hincrby(shard.meta_key, "version", 1)
    for user_id, value in values.items():
        await redis.zadd(catalog.sharding.shard_of(board, user_id).key, {user_id: value})


PLAYERS: Final = st.text(st.sampled_from("abcdef"), min_size=1, max_size=2)
VALUES: Final = st.sampled_from([1.0, 1.5, 2.0, 2.25, 2.75, 3.5, 1000.000000001, 2147483647.5, 2147483640.25])
TEAM_IDS: Final = ["t1", "t2", "t3", "t4", "t5"]


@pytest.mark.parametrize("name", ["one-key-teams", "sharded-teams"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(PLAYERS, VALUES, max_size=16),
    st.dictionaries(st.sampled_from(TEAM_IDS), st.sets(PLAYERS, max_size=5), max_size=5),
    st.sampled_from(["teams:sum", "teams:mean", "teams:best:2"]),
    st.sampled_from(get_args(Order)),
    st.integers(1, 6),
    st.sampled_from(get_args(Ranks)),
    st.integers(1, 4),
    st.floats(0.1, 100),
)
async def test_teams_are_read_as_players_with_their_scores_would_be(
    redis: Redis,
    live: Everything,
    name: str,
    values: dict[str, float],
    members: dict[str, set[str]],
    segment: str,
    order: Order,
    size: int,
    ranks: Ranks,
    length: int,
    percentile: float,
) -> None:
    ranked = Definition(name, order=order, size=size, ranks=ranks, segment=segment)
    plain = replace(ranked, name="plain-teams", segment="all")
    live.catalog.update([ranked, plain], edition=1, numbers=0)
    live.rosters.rosters = {name: roster_of({team: sorted(ids) for team, ids in members.items()})}
    score = ranked.teams
    assert score is not None
    scores = {
        team: value
        for team, ids in members.items()
        if (value := team_value([values[each] for each in ids if each in values], score, ascending=order == "asc"))
    }
    await write(redis, live.catalog, Board("custom", name), values)
    await write(redis, live.catalog, Board("custom", "plain-teams"), scores)
    best = {
        player: max((scores[team], team) for team, ids in members.items() if player in ids and team in scores)[1]
        for player in values
        if any(player in ids and team in scores for team, ids in members.items())
    }

    async def both(question: str, *arguments: Any) -> tuple[Any, Any]:
        found = [
            await live.boards.read(Board("custom", each), methodcaller(question, *arguments))
            for each in (name, "plain-teams")
        ]
        return found[0], found[1]

    def same(teams: Any, players: Any) -> bool:
        return [*teams.members] == [*players.members] and all(
            getattr(teams, each, None) == getattr(players, each, None) for each in ("first", "total", "above", "shared_ranks")
        )  # fmt: skip

    assert same(*await both("head", length))
    assert len(set(await both("total"))) == 1
    last = None
    while True:
        page, expected = await both("page", length, last)
        assert same(page, expected)
        if not page.members:
            break
        last = page.members[-1]
    for team in TEAM_IDS:
        assert same(*await both("around", team, length))
        own, expected = await both("standings", [team])
        assert {key: each._replace(team=None) for key, each in own.items()} == expected
        ahead, expected = await both("ahead", 2.0, team)
        assert ahead == expected
    found, expected = await both("quantile", percentile)
    assert found == expected
    for player in values:
        own, _ = await both("standings", [player])
        of_team, _ = await both("standings", [best.get(player, "none")])
        assert list(own.values()) == list(of_team.values()), "a player has the standing of their best-placed team"
        around, _ = await both("around", player, length)
        of_team, _ = await both("around", best.get(player, "none"), length)
        assert around == of_team


class Nobody:
    """The names of players: none is asked for."""

    async def of(self, user_ids: Sequence[str]) -> dict[str, Any]:
        raise AssertionError(user_ids)


async def test_frames_follow_members_and_points_and_never_go_backwards(redis: Redis, live: Everything) -> None:
    name = unique("cup-")[:20]
    board = Board("custom", name)
    live.catalog.update([Definition(name, segment="teams:sum")], edition=2, numbers=0)
    frames = Frames(live.boards, Nobody(), live.catalog, now=lambda: END)  # type: ignore[arg-type]  # asks for no name
    seen: list[tuple[int, int]] = []
    written: list[Mapping[str, float]] = [{}]

    async def shown(edition: int, teams: Mapping[str, Sequence[str]], values: Mapping[str, float]) -> list[Any]:
        live.rosters.rosters = {name: roster_of(teams, edition)}
        if values != written[-1]:  # a change of teams alone is no write to the board
            await write(redis, live.catalog, board, values)
            written.append(values)
        frame = (await frames.read(board, 10)).frame
        seen.append(position(frame))
        return [(each.username, each.score, each.country) for each in frame.entries]

    assert await shown(0, {}, {"a": 5.5}) == []
    assert await shown(1, {"t": ["a"]}, {"a": 5.5}) == [("Title of t", 5, "")]
    assert await shown(2, {"t": ["a", "b"]}, {"a": 5.5, "b": 2.5}) == [("Title of t", 7, "")]
    assert await shown(3, {"t": ["b"], "u": ["a"]}, {"a": 5.5, "b": 2.5}) == [
        ("Title of u", 5, ""),
        ("Title of t", 2, ""),
    ]
    assert await shown(3, {"t": ["b"], "u": ["a"]}, {"b": 2.5}) == [("Title of t", 2, "")], "voided or blocked"
    assert await shown(4, {"u": ["a"]}, {"b": 2.5}) == [], "a team without points is not ranked"
    assert seen == sorted(set(seen)), "each frame is later than the one before"


async def test_frozen_board_ranks_teams_by_what_their_members_had_at_the_freeze(redis: Redis, live: Everything) -> None:
    name = unique("cup-")[:20]
    frozen = Definition(
        name, period="range:2020-01-01/2100-01-01", freezes_before=2_500_000_000, freeze_changes=1, freeze_number=1,
        segment="teams:sum",
    )  # fmt: skip
    live.catalog.update([frozen], edition=3, numbers=1)
    frames = Frames(live.boards, Nobody(), live.catalog, now=utc_now)  # type: ignore[arg-type]  # asks for no name
    await write(redis, live.catalog, Board("custom", name), {"a": 9.5, "b": 7.5})
    await write(redis, live.catalog, Board("custom", f"{name}_until_freeze"), {"a": 3.5})
    live.rosters.rosters = {name: roster_of({"t": ["a"], "u": ["b"]})}
    first = (await frames.read(Board("custom", name), 10)).frame
    assert ([(each.user_id, each.score) for each in first.entries], first.HasField("frozen_since")) == (
        [("t", 3)],
        True,
    )
    live.catalog.update([replace(frozen, freezes_before=0, freeze_changes=2)], edition=4, numbers=1)
    second = (await frames.read(Board("custom", name), 10)).frame
    assert [(each.user_id, each.score) for each in second.entries] == [("t", 9), ("u", 7)]
    assert position(first) < position(second)


async def test_concurrent_readers_share_reads_and_see_what_was_written_before(redis: Redis, live: Everything) -> None:
    name = unique("cup-")[:20]
    board = Board("custom", name)
    live.catalog.update([Definition(name, segment="teams:sum")], edition=3, numbers=0)
    live.rosters.rosters = {name: roster_of({"t": ["a"]})}
    for points in range(1, 20):
        await write(redis, live.catalog, board, {"a": points + 0.5})
        heads = await asyncio.gather(*(live.boards.read(board, methodcaller("head", 1)) for _ in range(20)))
        assert {head.members[0] for head in heads} == {("t", points + 0.5)}
    for _ in range(3):
        before = (await redis.info("commandstats"))["cmdstat_zmscore"]["calls"]
        await asyncio.gather(*(live.boards.read(board, methodcaller("head", 1)) for _ in range(20)))
        assert (await redis.info("commandstats"))["cmdstat_zmscore"]["calls"] == before, "nothing has changed"


def test_who_counts_only_since_the_end_of_a_period_does_not_count_in_it() -> None:
    end = datetime(2026, 11, 23, tzinfo=UTC)
    at = milliseconds_of(end)
    roster = Roster(3, [Team("t", "T", ["a", "b", "c"], [at - 1, at, at + 1]), Team("u", "U", ["b"], [at])])
    assert [(team.team_id, list(team.user_ids)) for team in roster.until(end).teams] == [("t", ["a"]), ("u", [])]
    assert roster.until(end).teams_of == {"a": ["t"]}
    assert roster.until(end + timedelta(seconds=1)) is roster
    assert roster.until(None) is roster


DOCUMENT: Final = """query ($board: BoardInput!, $user: ID!) {
  getLeaderboard(board: $board) { userId username score rank country gapToNext }
  leaderboard(board: $board, first: 1) {
    totalCount board { ranksTeams title } me { userId username rank score } edges { node { username } cursor }
  }
  aroundPlayer(board: $board, userId: $user) { entries { userId username score rank } }
  ranks(board: $board, userIds: [$user]) { entries { userId username score rank } notFound }
  percentile(board: $board, userId: $user)
  scoreForPercentile(board: $board, percentile: 100)
  rankIfScore(board: $board, points: 14)
  me { rank(board: $board) }
  boards { key ranksTeams title totalCount }
}"""


async def team(owner: Player, title: str, board: str, *members: Player) -> str:
    """Return the id of a new group on a board, with these members."""
    group = (await ask(owner, PUT, input={"title": title, "groupId": str(uuid.uuid4())}))["group"]
    for member in members:
        await ask(member, JOIN, code=group["inviteCode"])
    if board:
        assert await ask(owner, ENTER, id=group["groupId"], board=board) == {
            "changed": True,
            "group": {"boards": [board]},
        }
    group_id: str = group["groupId"]
    return group_id


def titles(event: dict[str, Any]) -> list[tuple[str, int]]:
    """Return the teams of a frame with their points."""
    return [(entry["username"], entry["score"]) for entry in event["leaderboard"]]


async def test_teams_are_ranked_on_every_read_path_and_move_with_their_members(
    stack: RunningStack, client: GraphqlClient, web: Web, admin: str
) -> None:
    run = await define(client, admin, "perUnit")  # two points a unit
    ada, ben, cleo, dora, stranger = [await register(client, country="NR") for _ in range(5)]
    name = unique("team-")[:32]
    board = {"kind": "CUSTOM", "name": name}
    defined = await put(client, admin, name=name, title="Relay", sources=[f"action:{run}"], segment="teams:best:2")
    assert defined["board"]["segment"] == "teams:best:2"
    await until_ready(client, admin, name)
    for player, quantity in ((ada, 5), (ben, 1), (cleo, 4), (dora, 3), (stranger, 9)):
        await submit(player, run, quantity=quantity, wait="COUNTED")
    red = await team(ada, "Red", name, ben)
    blue = await team(cleo, "Blue", name)
    await team(stranger, "Not entered", "", dora)

    async with stream(stack.http, dora.access_token, f"custom:{name}") as events:
        await until(events, lambda data: titles(data) == [("Red", 12), ("Blue", 8)])
        code = next(each for each in await ask(cleo, MINE) if each["groupId"] == blue)["inviteCode"]
        await ask(dora, JOIN, code=code)
        joined = await until(events, lambda data: titles(data) == [("Blue", 14), ("Red", 12)])
        assert {entry["country"] for entry in joined.data["leaderboard"]} == {None}
        own = await until_me(events, rank=1, score=14)
        assert own.data["gapToNext"] is None
        await submit(ada, run, quantity=2, wait="COUNTED")
        moved = await until(events, lambda data: titles(data) == [("Red", 16), ("Blue", 14)])
        assert tuple(map(int, joined.id.split("-"))) < tuple(map(int, moved.id.split("-")))
        await until_me(events, rank=2, score=14)

    async def answer() -> dict[str, Any] | None:
        said = await web.graphql(DOCUMENT, {"board": board, "user": dora.user_id}, token=dora.access_token)
        assert "errors" not in said.body, said.body
        data: dict[str, Any] = said.body["data"]
        return data if [each["score"] for each in data["getLeaderboard"]] == [16, 14] else None

    data = await eventually(answer, "every instance has the teams")
    assert data is not None
    assert data["getLeaderboard"] == [
        {"userId": red, "username": "Red", "score": 16, "rank": 1, "country": None, "gapToNext": None},
        {"userId": blue, "username": "Blue", "score": 14, "rank": 2, "country": None, "gapToNext": 2},
    ]
    page = data["leaderboard"]
    assert (page["totalCount"], page["board"]) == (2, {"ranksTeams": True, "title": "Relay"})
    assert page["me"] == {"userId": blue, "username": "Blue", "rank": 2, "score": 14}
    assert [each["node"]["username"] for each in page["edges"]] == ["Red"]
    assert [(e["userId"], e["rank"]) for e in data["aroundPlayer"]["entries"]] == [(red, 1), (blue, 2)]
    (entry,) = data["ranks"]["entries"]
    assert entry == {"userId": dora.user_id, "username": dora.username, "score": 14, "rank": 2}
    numbers = (data["percentile"], data["scoreForPercentile"], data["rankIfScore"], data["me"]["rank"])
    assert numbers == (50, 16, 2, 2)
    (listed,) = [each for each in data["boards"] if each["key"] == f"custom:{name}"]
    assert listed == {"key": f"custom:{name}", "ranksTeams": True, "title": "Relay", "totalCount": 2}

    other = await web.graphql(DOCUMENT, {"board": board, "user": dora.user_id}, token=stranger.access_token)
    hidden = other.body["data"]
    assert [each["username"] for each in hidden["getLeaderboard"]] == ["Red", "Blue"]
    assert (hidden["ranks"], hidden["percentile"]) == ({"entries": [], "notFound": [dora.user_id]}, None)
    assert (hidden["aroundPlayer"]["entries"], hidden["leaderboard"]["me"]) == ([], None), (
        "who is in a team is not told"
    )
    other = await web.graphql(DOCUMENT, {"board": board, "user": red}, token=stranger.access_token)
    assert [each["username"] for each in other.body["data"]["ranks"]["entries"]] == ["Red"], "a team has its title"

    compared = "query ($id: ID!, $board: BoardInput) { groupLeaderboard(groupId: $id, board: $board) { memberCount } }"
    assert await refused(ada, compared, id=red, board=board) == "INVALID_ARGUMENT"
    proven = "query ($board: BoardInput!) { proof(board: $board) { rank } }"
    assert await refused(ada, proven, board=board) == "INVALID_ARGUMENT"

    # A member who leaves takes their points with them; a group that leaves is gone, for everybody and at once in the list.
    await ask(ada, LEAVE, id=red)

    async def has(expected: list[tuple[str, int]]) -> bool:
        entries = await dora.top(board)
        return [(each["username"], each["score"]) for each in entries] == expected

    await eventually(lambda: has([("Blue", 14), ("Red", 2)]), "the team without Ada")
    assert (await ask(ben, LEAVE_BOARD, id=red, board=name))["changed"] is True
    assert (await ask(ben, LEAVE_BOARD, id=red, board=name))["changed"] is False
    await eventually(lambda: has([("Blue", 14)]), "the board without the team")
    said = (await run_topten("group", "enter-board", red, name, data=stack.data)).stdout
    assert f"is on {name}." in said
    await eventually(lambda: has([("Blue", 14), ("Red", 2)]), "the team is back")
    assert "is not on" in (await run_topten("group", "leave-board", red, name, data=stack.data)).stdout


async def until_me(events: AsyncIterator[Event], *, rank: int, score: int) -> Event:
    """Return the first standing of the player with this rank and score."""
    async for event in events:
        if event.name == "me" and (event.data["rank"], event.data["score"]) == (rank, score):
            return event
    raise AssertionError("the stream ended")


async def test_groups_enter_only_boards_that_their_owners_may_read(
    stack: RunningStack, client: GraphqlClient, admin: str, moderator: str
) -> None:
    owner, member, abroad = [await register(client, country=country) for country in ("NR", "NR", "VN")]
    names = {kind: unique(f"{kind}-")[:32] for kind in ("hidden", "members", "plain")}
    await put(client, admin, name=names["hidden"], visibility="MODERATORS", segment="teams:sum")
    await put(client, admin, name=names["members"], visibility="MEMBERS", segment="teams:sum")
    await put(client, admin, name=names["plain"])
    for name in names.values():
        await until_ready(client, admin, name)
    group_id = await team(owner, "Ours", names["members"], member)
    for name, reason in (("hidden", "BOARD_NOT_FOUND"), ("plain", "INVALID_ARGUMENT")):
        assert await refused(owner, ENTER, id=group_id, board=names[name]) == reason
    assert await refused(owner, ENTER, id=group_id, board="No Name!") == "INVALID_ARGUMENT"
    assert await refused(member, ENTER, id=group_id, board=names["members"]) == "PERMISSION_DENIED"
    assert await refused(abroad, LEAVE_BOARD, id=group_id, board=names["members"]) == "GROUP_NOT_FOUND"
    with pytest.raises(Exception, match="cannot change between players and teams"):
        await put(client, admin, name=names["plain"], segment="teams:sum")
    with pytest.raises(Exception, match="a sum favors teams with few members"):
        await put(client, admin, name=unique("t-")[:32], order="ASC", segment="teams:sum")
