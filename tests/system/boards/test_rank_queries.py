"""Rank queries over GraphQL: pages, neighbors, percentiles, declared boards, closed periods and their proofs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from bson import ObjectId
from pymongo import AsyncMongoClient
from typer.testing import CliRunner

from services.boards.board import Board, period_of
from services.boards.encoding import ENCODING
from services.boards.periods.closed import BOARDS, DATABASE, ENTRIES, ClosedBoard
from services.cli.app import app
from services.cli.system.client import GraphqlClient, GraphqlError
from services.runtime.clock import utc_now
from tests.deadline import deadline, eventually
from tests.players import Event, Player, endpoints, register, stream, until
from tests.servers import running_stack
from tests.system.moderation.test_moderation import ADJUST, BLOCK, UNBLOCK, Moderator
from tests.system.region import ENTRY, PAGE, Region

AROUND = f"""query ($board: BoardInput, $user: ID, $radius: Int!) {{
  aroundPlayer(board: $board, userId: $user, radius: $radius) {{ entries {{ {ENTRY} }} notFound }} }}"""
RANKS = """query ($board: BoardInput, $users: [ID!]!) {
  ranks(board: $board, userIds: $users) { entries { rank userId gapToNext } notFound }
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


@pytest_asyncio.fixture(scope="module")
async def region() -> AsyncIterator[Region]:
    settings = {
        "TOPTEN_LEADERBOARD_TICK": "100ms",
        "TOPTEN_SCORE_HEARTBEAT": "200ms",
        "TOPTEN_SCORE_CLOSE_INTERVAL": "200ms",
        "TOPTEN_BOARDS_DECLARED": DECLARED,
    }
    with running_stack(settings) as stack:
        async with GraphqlClient(endpoints(stack).graphql) as client:
            account = stack.endpoints["moderator"]
            moderator = Moderator(client, await client.login(account["username"], account["password"]))
            players = [await register(client, country=("DK", "SE", "NO")[n % 3]) for n in range(len(POINTS))]
            region = Region(stack, client, moderator, players)
            for number, points in enumerate(POINTS):
                await moderator.do(ADJUST, userId=players[number].user_id, delta=points, reason="a test")
                await region.shows(NORTH, [player.username for player in players[: number + 1]])
            yield region


async def test_page_describes_its_board(region: Region) -> None:
    page = await region.page(NORTH_WEEK, 2)
    assert [(edge["node"]["rank"], edge["node"]["score"]) for edge in page["edges"]] == [(1, 50), (2, 45)]
    assert (page["totalCount"], page["stale"], page["me"]["rank"]) == (6, False, 1)
    board = page["board"]
    assert (board["kind"], board["timeZone"], board["totalCount"]) == ("CUSTOM", "UTC", 6)
    assert board["key"] == f"custom:north-week:{board['period'].replace('-', '-W')}"
    assert board["nextResetAt"] == board["endsAt"] > board["startsAt"]
    everybody = (await region.page({"kind": "ALL"}))["board"]
    assert (everybody["period"], everybody["endsAt"], everybody["nextResetAt"]) == (None, None, None)


async def test_pages_continue_each_other_and_cursors_belong_to_one_board(region: Region) -> None:
    names: list[str] = []
    after = None
    for size in (4, 4):
        page = await region.page(NORTH, size, after)
        names += [edge["node"]["username"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
    assert names == [player.username for player in region.players]
    assert (page["pageInfo"]["hasNextPage"], page["pageInfo"]["hasPreviousPage"]) == (False, True)
    assert (await region.page(NORTH, 2, after))["edges"] == []
    for board, cursor, reason in ((NORTH_WEEK, after, "CURSOR_EXPIRED"), (NORTH, "junk", "INVALID_ARGUMENT")):
        with pytest.raises(GraphqlError) as refused:
            await region.page(board, 2, cursor)
        assert refused.value.reason == reason


async def test_player_is_shown_among_their_neighbors(region: Region) -> None:
    async def around(number: int) -> list[int]:
        user = region.players[number].user_id
        result = (await region.ask(AROUND, board=NORTH, user=user, radius=1))["aroundPlayer"]
        assert result["notFound"] == []
        return [entry["rank"] for entry in result["entries"]]

    assert [await around(number) for number in (0, 1, 3, 5)] == [[1, 2, 3], [1, 2, 3], [3, 4, 5], [4, 5, 6]]
    stranger = await register(region.client, country="IS")
    result = (await region.ask(AROUND, stranger, board=NORTH, user=None, radius=50))["aroundPlayer"]
    assert result == {"entries": [], "notFound": [stranger.user_id]}
    ids = [region.players[4].user_id, stranger.user_id, region.players[1].user_id]
    ranks = (await region.ask(RANKS, board=NORTH, users=ids))["ranks"]
    assert ([entry["rank"] for entry in ranks["entries"]], ranks["notFound"]) == ([2, 5], [stranger.user_id])


async def test_every_read_path_has_the_same_gap_to_the_place_above(region: Region) -> None:
    scores = [edge["node"]["score"] for edge in (await region.page(NORTH))["edges"]]
    expected = dict(enumerate([None, *(one - other for one, other in pairwise(scores))], start=1))

    def gaps(entries: Sequence[dict[str, Any]]) -> dict[int, int | None]:
        return {entry["rank"]: entry["gapToNext"] for entry in entries}

    assert gaps([edge["node"] for edge in (await region.page(NORTH))["edges"]]) == expected
    second = await region.page(NORTH, 4, (await region.page(NORTH, 2))["pageInfo"]["endCursor"])
    assert gaps([edge["node"] for edge in second["edges"]]) == {rank: expected[rank] for rank in (3, 4, 5, 6)}
    ids = [player.user_id for player in region.players]
    assert gaps((await region.ask(RANKS, board=NORTH, users=ids))["ranks"]["entries"]) == expected
    top = "query ($board: BoardInput!) { getLeaderboard(board: $board) { rank gapToNext } }"
    for _ in range(3):  # by the executor, then by a plan
        assert gaps((await region.ask(top, board=NORTH))["getLeaderboard"]) == expected
    for number, player in enumerate(region.players, start=1):
        me = (await region.ask(PAGE, player, board=NORTH, first=1, after=None))["leaderboard"]["me"]
        assert gaps([me]) == {number: expected[number]}
        near = (await region.ask(AROUND, board=NORTH, user=player.user_id, radius=1))["aroundPlayer"]["entries"]
        assert gaps(near) == {entry["rank"]: expected[entry["rank"]] for entry in near}


async def test_percentiles_and_the_rank_of_a_possible_score(region: Region) -> None:
    numbers = await region.ask(NUMBERS, board=NORTH, user=region.players[3].user_id, percentile=50.0, points=40)
    assert numbers == {"percentile": 50.0, "scoreForPercentile": 30, "rankIfScore": 3}
    best = await region.ask(NUMBERS, region.players[5], board=NORTH, user=None, percentile=100.0, points=51)
    assert (best["scoreForPercentile"], best["rankIfScore"]) == (50, 1)
    empty = {"kind": "QUIZ", "quizId": "nobody-took-this"}
    assert await region.ask(NUMBERS, board=empty, user=None, percentile=1.0, points=1) == {
        "percentile": None,
        "scoreForPercentile": None,
        "rankIfScore": 1,
    }
    with pytest.raises(GraphqlError) as refused:
        await region.ask(NUMBERS, board=NORTH, user=None, percentile=0.0, points=1)
    assert refused.value.reason == "INVALID_ARGUMENT"


async def test_current_boards_are_listed(region: Region) -> None:
    boards = (await region.ask("{ boards { key kind totalCount } }"))["boards"]
    assert [(board["kind"], board["key"].split(":")[1:2]) for board in boards][3:] == [
        ("CUSTOM", ["north"]),
        ("CUSTOM", ["north-week"]),
    ]
    assert [board["totalCount"] for board in boards][3:] == [6, 6]


async def test_undeclared_board_is_not_found(region: Region) -> None:
    for board in ({"kind": "CUSTOM", "name": "south"}, NORTH | {"country": "DK"}, NORTH | {"period": "2026-47"}):
        with pytest.raises(GraphqlError) as refused:
            await region.page(board)
        assert refused.value.reason == "BOARD_NOT_FOUND"


async def test_player_who_moves_or_is_blocked_leaves_the_boards_of_the_region_and_returns(
    region: Region,
) -> None:
    player, names = region.players[2], [player.username for player in region.players]
    others = [name for name in names if name != player.username]
    own = {"kind": "CUSTOM", "name": "week-by-country", "country": "IS"}
    await player.client.execute(MOVE, {"input": {"country": "IS"}}, player.access_token)
    await region.shows(own, [player.username])
    await region.shows(NORTH, others)
    await region.shows(NORTH_WEEK, others)
    async with stream(region.stack.http, player.access_token, "custom:north-week") as events:
        await player.client.execute(MOVE, {"input": {"country": "NO"}}, player.access_token)
        await until(events, lambda data: [entry["username"] for entry in data["leaderboard"]] == names)
    await region.shows(NORTH, names)
    await region.shows(own, [])
    await region.moderator.do(BLOCK, userId=player.user_id, reason="a test")
    for board in (NORTH, NORTH_WEEK):
        await region.shows(board, others)
    await region.moderator.do(UNBLOCK, userId=player.user_id, reason="a test")
    for board in (NORTH, NORTH_WEEK):
        await region.shows(board, names)


async def test_player_follows_their_own_rank_outside_the_top(region: Region) -> None:
    player = region.players[5]
    async with stream(region.stack.http, player.access_token, "custom:north") as events:
        await me_is(events, rank=6, score=10)
        await region.moderator.do(ADJUST, userId=player.user_id, delta=12, reason="a test")
        await me_is(events, rank=5, score=22)
        await region.moderator.do(ADJUST, userId=region.players[4].user_id, delta=7, reason="another player overtakes")
        await me_is(events, rank=6, score=22)


async def me_is(events: AsyncIterator[Event], *, rank: int, score: int) -> None:
    async with deadline("the player's own rank"):
        async for event in events:
            if event.name == "me" and (event.data["rank"], event.data["score"]) == (rank, score):
                return
    raise AssertionError("the stream ended")


CLOSED = """query ($board: BoardInput!, $first: Int!, $after: String) {
  closedPeriods(board: $board, first: $first, after: $after) {
    edges { cursor node { closedAt board { key period endsAt nextResetAt totalCount } } }
    pageInfo { hasNextPage endCursor } } }"""


async def archive(region: Region, week: str, places: Sequence[tuple[Player, int]]) -> None:
    """Archive a week as score does."""
    board = Board.parse(f"weekly:{week}", utc_now())
    period = period_of(board)
    assert period is not None
    copy_id = ObjectId()
    closed = ClosedBoard(
        board.name, "weekly", copy_id, len(places), 1, 9, period.ends_at, period.ends_at + HOUR, ENCODING
    )
    entries = [
        {"made": copy_id, "rank": rank, "user_id": player.user_id, "value": points + 0.5}
        for rank, (player, points) in enumerate(places, start=1)
    ]
    mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(region.stack.endpoints["stores"]["mongo"])
    async with mongo:
        await mongo[f"topten_{DATABASE}"][ENTRIES].insert_many(entries)
        await mongo[f"topten_{DATABASE}"][BOARDS].insert_one(closed.to_document())


async def test_closed_periods_are_listed_and_stay_readable(region: Region) -> None:
    places = list(zip(region.players, POINTS, strict=True))
    for name in ("2024-10", "2024-11", "2024-12"):
        await archive(region, name, places)
    weekly = {"kind": "WEEKLY"}
    page = (await region.ask(CLOSED, board=weekly, first=2))["closedPeriods"]
    assert [edge["node"]["board"]["period"] for edge in page["edges"]] == ["2024-12", "2024-11"]
    assert page["edges"][0]["node"]["closedAt"] == "2024-03-25T01:00:00.000Z"
    assert page["edges"][0]["node"]["board"]["nextResetAt"] is None
    assert page["edges"][0]["node"]["board"]["totalCount"] == len(POINTS)
    assert page["pageInfo"]["hasNextPage"] is True
    rest = (await region.ask(CLOSED, board=weekly, first=2, after=page["pageInfo"]["endCursor"]))["closedPeriods"]
    assert [edge["node"]["board"]["key"] for edge in rest["edges"]] == ["weekly:2024-10"]
    assert rest["pageInfo"]["hasNextPage"] is False
    assert (await region.ask(CLOSED, board={"kind": "MONTHLY"}, first=2))["closedPeriods"]["edges"] == []

    week = {"kind": "WEEKLY", "period": "2024-11"}
    board = await region.page(week, first=4)
    names = [edge["node"]["username"] for edge in board["edges"]]
    assert names == [player.username for player in region.players[:4]]
    assert board["me"]["rank"] == 1
    assert board["edges"][0]["node"]["score"] == POINTS[0]
    more = await region.page(week, first=4, after=board["pageInfo"]["endCursor"])
    assert [edge["node"]["rank"] for edge in more["edges"]] == [5, 6]
    last = region.players[-1]
    around = (await region.ask(AROUND, board=week, user=last.user_id, radius=1))["aroundPlayer"]
    assert [entry["rank"] for entry in around["entries"]] == [4, 5, 6]
    ranks = (await region.ask(RANKS, board=week, users=[last.user_id, "nobody"]))["ranks"]
    assert (ranks["entries"][0]["rank"], ranks["notFound"]) == (6, ["nobody"])
    numbers = await region.ask(NUMBERS, board=week, user=last.user_id, percentile=100.0, points=42)
    assert numbers["scoreForPercentile"] == POINTS[0]
    assert numbers["rankIfScore"] == 2, "behind the second; the caller was the first"
    assert round(numbers["percentile"], 1) == 16.7
    assert [entry["score"] for entry in await region.players[0].top(week, 3)] == list(POINTS[:3])


@pytest.mark.parametrize("board", [{"kind": "ALL"}, {"kind": "COUNTRY", "country": "DK"}, NORTH])
async def test_board_without_periods_has_no_closed_ones(region: Region, board: dict[str, Any]) -> None:
    with pytest.raises(GraphqlError, match="no periods"):
        await region.ask(CLOSED, board=board, first=2)


async def test_page_token_belongs_to_one_list(region: Region) -> None:
    week, month = {"kind": "WEEKLY"}, {"kind": "MONTHLY"}
    await archive(region, "2023-10", [(region.players[0], 1)])
    cursor = (await region.ask(CLOSED, board=week, first=1))["closedPeriods"]["pageInfo"]["endCursor"]
    for board, after, reason in ((month, cursor, "CURSOR_EXPIRED"), (week, "nonsense", "INVALID_ARGUMENT")):
        with pytest.raises(GraphqlError) as refused:
            await region.ask(CLOSED, board=board, first=2, after=after)
        assert refused.value.reason == reason


PROOFS_PAGE = Path(__file__).parents[3] / "docs" / "proofs.md"
PROOF = """query ($board: BoardInput!, $user: ID) {
  proof(board: $board, userId: $user) { board userId rank score salt digest path head }
}"""
WEEK = {"kind": "WEEKLY", "period": "2022-11"}
CHANGES: list[dict[str, Any]] = [
    {"score": 46},
    {"rank": 3},
    {"rank": 7},
    {"userId": "another"},
    {"salt": "00" * 16},
    {"digest": "00" * 32},
    {"board": "weekly:2022-12"},
    {"path": []},
]


def five_lines() -> str:
    (lines,) = re.findall(r"^```python\n(.*?)^```$", PROOFS_PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(lines.splitlines()) == 5
    return str(lines)


async def refusal(region: Region, board: dict[str, Any], user_id: str | None = None) -> tuple[str, str]:
    with pytest.raises(GraphqlError) as refused:
        await region.ask(PROOF, board=board, user=user_id)
    return refused.value.reason, str(refused.value)


def verify_proof(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["verify-proof", *map(str, arguments)])
    return result.exit_code, result.output


async def test_proof_of_a_final_rank_is_checked_without_the_service(region: Region, tmp_path: Path) -> None:
    await archive(region, "2022-11", list(zip(region.players, POINTS, strict=True)))
    second = region.players[1]

    async def proof() -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = await region.ask(PROOF, board=WEEK, user=second.user_id)
        except GraphqlError as error:
            assert error.reason == "UNAVAILABLE"
            return None
        return found

    data = await eventually(proof, "a signed head of the week")
    assert data is not None
    document = data["proof"]
    assert (document["userId"], document["rank"], document["score"]) == (second.user_id, 2, 45)
    own = (await region.ask(PROOF, second, board=WEEK))["proof"]
    assert own == document, "by default the caller's"

    url = f"{region.stack.endpoints['http']}/.well-known/jwks.json"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        keys = await response.json()
    file, trusted, others = (tmp_path / name for name in ("proof.json", "jwks.json", "others.json"))
    trusted.write_text(json.dumps(keys))
    others.write_text(json.dumps({"keys": []}))
    for content in (document, {"data": data}):
        file.write_text(json.dumps(content))
        code, output = verify_proof(file, "--keys", trusted)
        assert code == 0, output
        assert f"weekly:2022-11: player {second.user_id} has rank 2 of 6 with 45 points." in output
        assert f"Signed by the trusted key {keys['keys'][0]['kid']}" in output
    assert verify_proof(file)[0] == 0
    code, output = verify_proof(file, "--keys", others)
    assert (code, "another key" in output) == (1, True)
    assert (
        verify_proof(tmp_path / "none.json")[0]
        == verify_proof(file, "--keys", PROOFS_PAGE)[0]
        == verify_proof(PROOFS_PAGE)[0]
        == 2
    )

    def lines_hold(content: dict[str, Any]) -> bool:
        file.write_text(json.dumps(content))
        done = subprocess.run(
            [sys.executable, "-c", five_lines()], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return done.returncode == 0

    assert lines_hold(document)
    for change in CHANGES:
        assert not lines_hold(document | change), change
        assert verify_proof(file, "--keys", trusted)[0] == 1, change


async def test_proof_is_refused_with_the_reason_and_the_argument(region: Region) -> None:
    await archive(region, "2022-09", [(region.players[0], 1)])
    open_week, no_periods = {"kind": "WEEKLY"}, {"kind": "ALL"}
    for board in (open_week, no_periods):
        reason, message = await refusal(region, board)
        assert reason == "INVALID_ARGUMENT"
        assert "board" in message
    for period in ("2022-77", "2021-40"):  # none, and one in which nobody was ranked
        assert (await refusal(region, {"kind": "WEEKLY", "period": period}))[0] == "BOARD_NOT_FOUND"
    assert (await refusal(region, {"kind": "CUSTOM", "name": "unknown"}))[0] == "BOARD_NOT_FOUND"
    closed = {"kind": "WEEKLY", "period": "2022-09"}
    assert (await refusal(region, closed, "nobody"))[0] == "PLAYER_NOT_FOUND"
