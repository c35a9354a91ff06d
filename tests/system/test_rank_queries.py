"""Questions about rank over GraphQL: pages, neighbours, percentiles, and the boards that the operator declared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from bson import ObjectId
from pymongo import AsyncMongoClient

from services.local.client import GraphqlClient, GraphqlError
from services.runtime.boards import Board, period
from services.runtime.clock import utc_now
from services.runtime.closed import BOARDS, DATABASE, ENTRIES, ClosedBoard
from tests.players import Event, Player, endpoints, register, stream, until
from tests.servers import RunningStack, running_stack
from tests.system.test_moderation import ADJUST, BLOCK, UNBLOCK, Moderator

ENTRY = "userId username score rank country previousRank"
BOARD = "board { key kind period startsAt endsAt timeZone nextResetAt totalCount }"
PAGE = f"""query ($board: BoardInput, $first: Int!, $after: String) {{
  leaderboard(board: $board, first: $first, after: $after) {{
  {BOARD} totalCount stale me {{ {ENTRY} }} edges {{ cursor node {{ {ENTRY} }} }}
  pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"""
AROUND = f"""query ($board: BoardInput, $user: ID, $radius: Int!) {{
  aroundPlayer(board: $board, userId: $user, radius: $radius) {{ entries {{ {ENTRY} }} notFound }} }}"""
RANKS = """query ($board: BoardInput, $users: [ID!]!) {
  ranks(board: $board, userIds: $users) { entries { rank userId } notFound }
}"""
NUMBERS = """query ($board: BoardInput, $user: ID, $percentile: Float!, $points: Int!) {
  percentile(board: $board, userId: $user)
  scoreForPercentile(board: $board, percentile: $percentile)
  rankIfScore(board: $board, points: $points)
}"""
MOVE = "mutation ($input: UpdateProfileInput!) { updateProfile(input: $input) { country } }"
DECLARED = "north=all,DK+SE+NO; north-week=weekly,DK+SE+NO; week-by-country=weekly,country"
NORTH = {"kind": "CUSTOM", "name": "north"}
NORTH_WEEK = {"kind": "CUSTOM", "name": "north-week"}
HOUR = timedelta(hours=1)
POINTS = (50, 45, 40, 30, 20, 10)


class World:
    """A system with a region of six players."""

    def __init__(
        self, stack: RunningStack, client: GraphqlClient, moderator: Moderator, players: Sequence[Player]
    ) -> None:
        self.stack = stack
        self.client = client
        self.moderator = moderator
        self.players = players

    async def ask(self, document: str, by: Player | None = None, **variables: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.client.execute(document, variables, (by or self.players[0]).access_token)
        return answer

    async def page(self, board: dict[str, Any], first: int = 100, after: str | None = None) -> dict[str, Any]:
        page: dict[str, Any] = (await self.ask(PAGE, board=board, first=first, after=after))["leaderboard"]
        return page

    async def shows(self, board: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
        """The page, once it has these players in this order."""
        async with asyncio.timeout(30):
            while True:
                page = await self.page(board)
                if [edge["node"]["username"] for edge in page["edges"]] == list(names):
                    return page
                await asyncio.sleep(0.02)


@pytest_asyncio.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    settings = {
        "TOPTEN_LEADERBOARD_TICK": "100ms",
        "TOPTEN_SCORE_HEARTBEAT": "200ms",
        "TOPTEN_BOARDS_DECLARED": DECLARED,
    }
    with running_stack(settings) as stack:
        async with GraphqlClient(endpoints(stack).graphql) as client:
            account = stack.endpoints["moderator"]
            moderator = Moderator(client, await client.login(account["username"], account["password"]))
            players = [await register(client, country=("DK", "SE", "NO")[n % 3]) for n in range(len(POINTS))]
            made = World(stack, client, moderator, players)
            for number, points in enumerate(POINTS):
                await moderator.do(ADJUST, userId=players[number].user_id, delta=points, reason="a test")
                await made.shows(NORTH, [player.username for player in players[: number + 1]])
            yield made


async def test_a_page_says_what_a_screen_shows(world: World) -> None:
    page = await world.page(NORTH_WEEK, 2)
    assert [(edge["node"]["rank"], edge["node"]["score"]) for edge in page["edges"]] == [(1, 50), (2, 45)]
    assert (page["totalCount"], page["stale"], page["me"]["rank"]) == (6, False, 1)
    board = page["board"]
    assert (board["kind"], board["timeZone"], board["totalCount"]) == ("CUSTOM", "UTC", 6)
    assert board["key"] == f"custom:north-week:{board['period'].replace('-', '-W')}"
    assert board["nextResetAt"] == board["endsAt"] > board["startsAt"]
    everybody = (await world.page({"kind": "ALL"}))["board"]
    assert (everybody["period"], everybody["endsAt"], everybody["nextResetAt"]) == (None, None, None)


async def test_pages_follow_one_another_and_their_cursors_are_of_one_board(world: World) -> None:
    names: list[str] = []
    after = None
    for size in (4, 4):
        page = await world.page(NORTH, size, after)
        names += [edge["node"]["username"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
    assert names == [player.username for player in world.players]
    assert (page["pageInfo"]["hasNextPage"], page["pageInfo"]["hasPreviousPage"]) == (False, True)
    assert (await world.page(NORTH, 2, after))["edges"] == []
    for board, cursor, reason in ((NORTH_WEEK, after, "CURSOR_EXPIRED"), (NORTH, "junk", "INVALID_ARGUMENT")):
        with pytest.raises(GraphqlError) as refused:
            await world.page(board, 2, cursor)
        assert refused.value.reason == reason


async def test_a_player_is_shown_among_his_neighbours(world: World) -> None:
    async def around(number: int) -> list[int]:
        user = world.players[number].user_id
        answer = (await world.ask(AROUND, board=NORTH, user=user, radius=1))["aroundPlayer"]
        assert answer["notFound"] == []
        return [entry["rank"] for entry in answer["entries"]]

    assert [await around(number) for number in (0, 1, 3, 5)] == [[1, 2, 3], [1, 2, 3], [3, 4, 5], [4, 5, 6]]
    stranger = await register(world.client, country="IS")
    answer = (await world.ask(AROUND, stranger, board=NORTH, user=None, radius=50))["aroundPlayer"]
    assert answer == {"entries": [], "notFound": [stranger.user_id]}
    asked = [world.players[4].user_id, stranger.user_id, world.players[1].user_id]
    ranks = (await world.ask(RANKS, board=NORTH, users=asked))["ranks"]
    assert ([entry["rank"] for entry in ranks["entries"]], ranks["notFound"]) == ([2, 5], [stranger.user_id])


async def test_percentiles_and_what_a_score_would_be(world: World) -> None:
    numbers = await world.ask(NUMBERS, board=NORTH, user=world.players[3].user_id, percentile=50.0, points=40)
    assert numbers == {"percentile": 50.0, "scoreForPercentile": 30, "rankIfScore": 3}
    best = await world.ask(NUMBERS, world.players[5], board=NORTH, user=None, percentile=100.0, points=51)
    assert (best["scoreForPercentile"], best["rankIfScore"]) == (50, 1)
    empty = {"kind": "QUIZ", "quizId": "nobody-took-this"}
    assert await world.ask(NUMBERS, board=empty, user=None, percentile=1.0, points=1) == {
        "percentile": None,
        "scoreForPercentile": None,
        "rankIfScore": 1,
    }
    with pytest.raises(GraphqlError) as refused:
        await world.ask(NUMBERS, board=NORTH, user=None, percentile=0.0, points=1)
    assert refused.value.reason == "INVALID_ARGUMENT"


async def test_the_boards_of_this_moment_are_listed(world: World) -> None:
    boards = (await world.ask("{ boards { key kind totalCount } }"))["boards"]
    assert [(board["kind"], board["key"].split(":")[1:2]) for board in boards][3:] == [
        ("CUSTOM", ["north"]),
        ("CUSTOM", ["north-week"]),
    ]
    assert [board["totalCount"] for board in boards][3:] == [6, 6]


async def test_what_is_not_declared_is_no_board(world: World) -> None:
    for board in ({"kind": "CUSTOM", "name": "south"}, NORTH | {"country": "DK"}, NORTH | {"period": "2026-47"}):
        with pytest.raises(GraphqlError) as refused:
            await world.page(board)
        assert refused.value.reason == "BOARD_NOT_FOUND"


async def test_who_moves_or_is_blocked_leaves_the_boards_of_the_region_and_comes_back(world: World) -> None:
    player, names = world.players[2], [player.username for player in world.players]
    others = [name for name in names if name != player.username]
    own = {"kind": "CUSTOM", "name": "week-by-country", "country": "IS"}
    await player.client.execute(MOVE, {"input": {"country": "IS"}}, player.access_token)
    await world.shows(own, [player.username])
    await world.shows(NORTH, others)
    await world.shows(NORTH_WEEK, others)
    async with stream(world.stack.http, player.access_token, "custom:north-week") as events:
        await player.client.execute(MOVE, {"input": {"country": "NO"}}, player.access_token)
        await until(events, lambda data: [entry["username"] for entry in data["leaderboard"]] == names)
    await world.shows(NORTH, names)
    await world.shows(own, [])
    await world.moderator.do(BLOCK, userId=player.user_id, reason="a test")
    for board in (NORTH, NORTH_WEEK):
        await world.shows(board, others)
    await world.moderator.do(UNBLOCK, userId=player.user_id, reason="a test")
    for board in (NORTH, NORTH_WEEK):
        await world.shows(board, names)


async def test_a_player_is_told_of_his_own_place_wherever_he_is(world: World) -> None:
    player = world.players[5]
    async with stream(world.stack.http, player.access_token, "custom:north") as events:
        await me_is(events, rank=6, score=10)
        await world.moderator.do(ADJUST, userId=player.user_id, delta=12, reason="a test")
        await me_is(events, rank=5, score=22)
        await world.moderator.do(ADJUST, userId=world.players[4].user_id, delta=7, reason="another passes him")
        await me_is(events, rank=6, score=22)


async def me_is(events: AsyncIterator[Event], *, rank: int, score: int) -> None:
    async with asyncio.timeout(20):
        async for event in events:
            if event.name == "me" and (event.data["rank"], event.data["score"]) == (rank, score):
                return
    raise AssertionError("the stream ended")


CLOSED = """query ($board: BoardInput!, $first: Int!, $after: String) {
  closedPeriods(board: $board, first: $first, after: $after) {
    edges { cursor node { closedAt board { key period endsAt nextResetAt totalCount } } }
    pageInfo { hasNextPage endCursor } } }"""


async def keep(world: World, week: str, places: Sequence[tuple[Player, int]]) -> None:
    """Keeps a week as the score service does."""
    board = Board.parse(f"weekly:{week}", utc_now())
    counted = period(board)
    assert counted is not None
    made = ObjectId()
    kept = ClosedBoard(
        board.text, "weekly", made, len(places), 1, 9, ends_at=counted.ends_at, closed_at=counted.ends_at + HOUR
    )
    entries = [
        {"made": made, "rank": rank, "user_id": player.user_id, "value": points + 0.5}
        for rank, (player, points) in enumerate(places, start=1)
    ]
    mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(world.stack.endpoints["stores"]["mongo"])
    async with mongo:
        await mongo[f"topten_{DATABASE}"][ENTRIES].insert_many(entries)
        await mongo[f"topten_{DATABASE}"][BOARDS].insert_one(kept.document())


async def test_closed_periods_are_listed_and_read_for_ever(world: World) -> None:
    places = list(zip(world.players, POINTS, strict=True))
    for name in ("2024-10", "2024-11", "2024-12"):
        await keep(world, name, places)
    weekly = {"kind": "WEEKLY"}
    page = (await world.ask(CLOSED, board=weekly, first=2))["closedPeriods"]
    assert [edge["node"]["board"]["period"] for edge in page["edges"]] == ["2024-12", "2024-11"]
    assert page["edges"][0]["node"]["closedAt"] == "2024-03-25T01:00:00.000Z"
    assert page["edges"][0]["node"]["board"]["nextResetAt"] is None
    assert page["edges"][0]["node"]["board"]["totalCount"] == len(POINTS)
    assert page["pageInfo"]["hasNextPage"] is True
    rest = (await world.ask(CLOSED, board=weekly, first=2, after=page["pageInfo"]["endCursor"]))["closedPeriods"]
    assert [edge["node"]["board"]["key"] for edge in rest["edges"]] == ["weekly:2024-10"]
    assert rest["pageInfo"]["hasNextPage"] is False
    assert (await world.ask(CLOSED, board={"kind": "MONTHLY"}, first=2))["closedPeriods"]["edges"] == []

    week = {"kind": "WEEKLY", "period": "2024-11"}
    board = await world.page(week, first=4)
    names = [edge["node"]["username"] for edge in board["edges"]]
    assert names == [player.username for player in world.players[:4]]
    assert board["me"]["rank"] == 1
    assert board["edges"][0]["node"]["score"] == POINTS[0]
    more = await world.page(week, first=4, after=board["pageInfo"]["endCursor"])
    assert [edge["node"]["rank"] for edge in more["edges"]] == [5, 6]
    last = world.players[-1]
    around = (await world.ask(AROUND, board=week, user=last.user_id, radius=1))["aroundPlayer"]
    assert [entry["rank"] for entry in around["entries"]] == [4, 5, 6]
    ranks = (await world.ask(RANKS, board=week, users=[last.user_id, "nobody"]))["ranks"]
    assert (ranks["entries"][0]["rank"], ranks["notFound"]) == (6, ["nobody"])
    numbers = await world.ask(NUMBERS, board=week, user=last.user_id, percentile=100.0, points=42)
    assert numbers["scoreForPercentile"] == POINTS[0]
    assert numbers["rankIfScore"] == 2, "behind the second; whoever asks was the first"
    assert round(numbers["percentile"], 1) == 16.7
    assert [entry["score"] for entry in await world.players[0].top(week, 3)] == list(POINTS[:3])


@pytest.mark.parametrize("board", [{"kind": "ALL"}, {"kind": "COUNTRY", "country": "DK"}, NORTH])
async def test_a_board_without_periods_has_no_closed_ones(world: World, board: dict[str, Any]) -> None:
    with pytest.raises(GraphqlError, match="no periods"):
        await world.ask(CLOSED, board=board, first=2)


async def test_a_token_of_another_list_is_refused(world: World) -> None:
    with pytest.raises(GraphqlError, match="page token"):
        await world.ask(CLOSED, board={"kind": "WEEKLY"}, first=2, after="nonsense")
