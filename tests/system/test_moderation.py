"""What moderators do, as they and the players see it: voids, adjustments, blocks, flags; and a player's own move."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from topten.quiz.v1 import quiz_pb2

from services.local.client import GraphqlClient, GraphqlError
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import Player, endpoints, register, shows, stream, until
from tests.servers import RunningStack, unique

VOID = "mutation ($input: VoidActionInput!) { voidAction(input: $input) { success eventId scoreDelta duplicate } }"
ADJUST = "mutation ($input: AdjustScoreInput!) { adjustScore(input: $input) { success eventId scoreDelta duplicate } }"
BLOCK = "mutation ($input: BlockUserInput!) { blockUser(input: $input) { success eventId } }"
UNBLOCK = "mutation ($input: UnblockUserInput!) { unblockUser(input: $input) { success eventId } }"
MOVE = "mutation ($input: UpdateProfileInput!) { updateProfile(input: $input) { userId country } }"
LOGIN = "mutation ($input: LoginInput!) { login(input: $input) { accessToken } }"
REFRESH = "mutation ($token: String!) { refreshToken(refreshToken: $token) { accessToken } }"
HISTORY = """query ($user: ID) { scoreHistory(userId: $user) { edges { node {
  kind delta newScore actor reason quizId } } } }"""
FLAGS = """query ($after: String, $state: FlagState) { flags(first: 100, after: $after, state: $state) {
  edges { cursor node { flagId userId rule reason evidence { name value } state closedBy note user { username } } }
  pageInfo { hasNextPage endCursor } } }"""
CLOSE = "mutation ($input: CloseFlagInput!) { closeFlag(input: $input) { state note closedBy } }"
PASSWORD = "correct horse battery"
WHY = "a test"


class Moderator:
    """Who may do all this."""

    def __init__(self, client: GraphqlClient, token: str) -> None:
        self._client = client
        self._token = token

    async def do(self, document: str, **fields: Any) -> Any:
        """The one field of the answer."""
        data = await self._client.execute(document, {"input": fields}, self._token)
        return next(iter(data.values()))

    async def ask(self, document: str, **variables: Any) -> Any:
        return await self._client.execute(document, variables, self._token)


@pytest_asyncio.fixture
async def client(stack: RunningStack) -> AsyncIterator[GraphqlClient]:
    async with GraphqlClient(endpoints(stack).graphql) as opened:
        yield opened


@pytest_asyncio.fixture
async def moderator(stack: RunningStack, client: GraphqlClient) -> Moderator:
    account = stack.endpoints["moderator"]
    return Moderator(client, await client.login(account["username"], account["password"]))


@pytest_asyncio.fixture
async def quiz_id(stack: RunningStack) -> str:
    name = unique("moderated-")
    await import_quiz(endpoints(stack), quiz_definition(name, counting=quiz_pb2.COUNTING_BEST))
    return name


async def on_board(player: Player, score: int | None, board: dict[str, Any]) -> None:
    """Returns when the board has the player with this score, or without him."""
    async with asyncio.timeout(20):
        while True:
            found = {entry["userId"]: entry["score"] for entry in await player.top(board, 100)}
            if found.get(player.user_id) == score:
                return
            await asyncio.sleep(0.02)


async def kinds(player: Player) -> list[str]:
    data = await player.client.execute(HISTORY, {}, player.access_token)
    return [edge["node"]["kind"] for edge in data["scoreHistory"]["edges"]]


async def test_a_voided_action_counts_no_more_and_the_best_of_the_others_does(
    client: GraphqlClient, moderator: Moderator, quiz_id: str
) -> None:
    player = await register(client, country="IS")
    one, two = await player.submit(quiz_id, [("q1", "a")]), await player.submit(quiz_id, [("q1", "a"), ("q2", "a")])
    board = {"kind": "QUIZ", "quizId": quiz_id}
    await on_board(player, 20, board)
    voided = await moderator.do(VOID, userId=player.user_id, actionId=two["actionId"], reason=WHY)
    assert (voided["scoreDelta"], voided["duplicate"]) == (-10, False)
    await on_board(player, 10, board)
    await on_board(player, 10, {"kind": "COUNTRY", "country": "IS"})
    again = await moderator.do(VOID, userId=player.user_id, actionId=two["actionId"], reason="another")
    assert again == {**voided, "duplicate": True}
    # The attempts after it are counted as if it had never been.
    assert (await moderator.do(VOID, userId=player.user_id, actionId=one["actionId"], reason=WHY))["scoreDelta"] == -10
    await on_board(player, None, board)
    await player.submit(quiz_id, [("q2", "a")])
    await on_board(player, 10, board)
    assert await kinds(player) == [
        "QUIZ_COMPLETED",
        "ACTION_VOIDED",
        "ACTION_VOIDED",
        "QUIZ_COMPLETED",
        "QUIZ_COMPLETED",
    ]
    with pytest.raises(GraphqlError) as refused:
        await moderator.do(VOID, userId=player.user_id, actionId=str(uuid.uuid4()), reason=WHY)
    assert refused.value.reason == "ACTION_NOT_FOUND"


async def test_an_adjustment_counts_once_under_its_id_and_stands_in_the_history(
    client: GraphqlClient, moderator: Moderator
) -> None:
    player, action_id = await register(client, country="FO"), str(uuid.uuid4())
    country = {"kind": "COUNTRY", "country": "FO"}
    for duplicate in (False, True):
        done = await moderator.do(ADJUST, userId=player.user_id, delta=70, reason="a prize", actionId=action_id)
        assert done["duplicate"] is duplicate
    await player.submit("arithmetic-sprint", [("q5", "true")])
    await on_board(player, 75, country)
    # The week has more players than a page: only who is far ahead is surely on it.
    await moderator.do(ADJUST, userId=player.user_id, delta=1_000_000, reason="far ahead")
    await on_board(player, 1_000_075, {"kind": "WEEKLY"})
    await moderator.do(ADJUST, userId=player.user_id, delta=-1_000_075, reason="taken back")
    await on_board(player, None, {"kind": "WEEKLY"})
    await on_board(player, None, country)
    data = await moderator.ask(HISTORY, user=player.user_id)
    newest = data["scoreHistory"]["edges"][0]["node"]
    assert (newest["kind"], newest["delta"], newest["newScore"], newest["reason"]) == (
        "SCORE_ADJUSTED",
        -1_000_075,
        0,
        "taken back",
    )
    assert newest["actor"], "a moderator sees who"
    own = await player.client.execute(HISTORY, {}, player.access_token)
    assert own["scoreHistory"]["edges"][0]["node"]["actor"] is None, "and the player does not"
    with pytest.raises(GraphqlError) as conflict:
        await moderator.do(ADJUST, userId=player.user_id, delta=71, reason=WHY, actionId=action_id)
    assert conflict.value.reason == "ACTION_ID_CONFLICT"
    with pytest.raises(GraphqlError) as nobody:
        await moderator.do(ADJUST, userId=str(uuid.uuid4()), delta=71, reason=WHY)
    assert nobody.value.reason == "PLAYER_NOT_FOUND"


async def test_a_blocked_player_is_nowhere_can_do_nothing_and_comes_back_unharmed(
    stack: RunningStack, client: GraphqlClient, moderator: Moderator, quiz_id: str
) -> None:
    player, other = await register(client, country="GL"), await register(client, country="GL")
    recorded = await player.submit(quiz_id, [("q1", "a")])
    await other.submit(quiz_id, [("q1", "a")])
    boards: list[dict[str, Any]] = [
        {"kind": "COUNTRY", "country": "GL"},
        {"kind": "QUIZ", "quizId": quiz_id},
        {"kind": "ALL"},
        {"kind": "MONTHLY"},
    ]
    for board in boards[:2]:
        await on_board(player, 10, board)
    async with stream(stack.http, other.access_token, f"quiz:{quiz_id}") as events:
        await until(events, shows(player.username, 10))
        await moderator.do(BLOCK, userId=player.user_id, reason="cheating")
        await until(events, lambda data: [e["username"] for e in data["leaderboard"]] == [other.username])
    for board in boards:
        await on_board(player, None, board)
    with pytest.raises(GraphqlError) as at_once:
        await player.submit(quiz_id, [("q2", "a")])
    assert at_once.value.reason == "PLAYER_BLOCKED"
    replay = await player.submit(quiz_id, [("q1", "a")], recorded["actionId"])
    assert replay == {**recorded, "duplicate": True}, "what was answered stays answered"
    for document, variables in (
        (LOGIN, {"input": {"username": player.username, "password": PASSWORD}}),
        (MOVE, {"input": {"country": "DK"}}),
    ):
        with pytest.raises(GraphqlError) as refused:
            await client.execute(document, variables, player.access_token)
        assert refused.value.reason == "PLAYER_BLOCKED"
    with pytest.raises(GraphqlError) as ended:
        await client.execute(REFRESH, {"token": player.refresh_token})
    assert ended.value.reason == "UNAUTHENTICATED", "the session is over"
    await moderator.do(UNBLOCK, userId=player.user_id, reason="a mistake")
    for board in boards[:2]:
        await on_board(player, 10, board)
    await player.submit(quiz_id, [("q1", "a"), ("q2", "a")])
    await on_board(player, 20, boards[1])
    assert (await moderator.do(UNBLOCK, userId=player.user_id, reason=WHY))["eventId"] is None


async def test_a_block_ends_when_its_time_is_over(client: GraphqlClient, moderator: Moderator, quiz_id: str) -> None:
    player, board = await register(client), {"kind": "QUIZ", "quizId": quiz_id}
    await player.submit(quiz_id, [("q1", "a")])
    await on_board(player, 10, board)
    ends = datetime.now(UTC) + timedelta(seconds=2)
    await moderator.do(BLOCK, userId=player.user_id, reason=WHY, expiresAt=ends.isoformat(timespec="milliseconds"))
    await on_board(player, None, board)
    await on_board(player, 10, board)
    assert datetime.now(UTC) >= ends
    await client.login(player.username, PASSWORD)
    past = (ends - timedelta(hours=1)).isoformat(timespec="milliseconds")
    with pytest.raises(GraphqlError) as refused:
        await moderator.do(BLOCK, userId=player.user_id, reason=WHY, expiresAt=past)
    assert refused.value.reason == "INVALID_ARGUMENT"


async def test_who_moves_takes_his_score_to_the_board_of_the_new_country(client: GraphqlClient, quiz_id: str) -> None:
    player = await register(client, country="FJ")
    await player.submit(quiz_id, [("q1", "a")])
    await on_board(player, 10, {"kind": "COUNTRY", "country": "FJ"})
    moved = await client.execute(MOVE, {"input": {"country": "TO"}}, player.access_token)
    assert moved["updateProfile"] == {"userId": player.user_id, "country": "TO"}
    await on_board(player, 10, {"kind": "COUNTRY", "country": "TO"})
    await on_board(player, None, {"kind": "COUNTRY", "country": "FJ"})
    # The token still names the old country; the score does not follow it.
    await player.submit(quiz_id, [("q1", "a"), ("q2", "a")])
    await on_board(player, 20, {"kind": "COUNTRY", "country": "TO"})
    await on_board(player, None, {"kind": "COUNTRY", "country": "FJ"})
    async with asyncio.timeout(20):
        while {e["country"] for e in await player.top({"kind": "QUIZ", "quizId": quiz_id})} != {"TO"}:
            await asyncio.sleep(0.02)


async def test_a_profile_changes_only_by_what_is_named(client: GraphqlClient) -> None:
    player = await register(client, country="FJ")
    for wrong in ({}, {"country": "XX"}, {"country": "fj"}):
        with pytest.raises(GraphqlError) as refused:
            await client.execute(MOVE, {"input": wrong}, player.access_token)
        assert refused.value.reason == "INVALID_ARGUMENT"
    nowhere = await client.execute(MOVE, {"input": {"country": None}}, player.access_token)
    assert nowhere["updateProfile"]["country"] is None


async def test_only_moderators_moderate(client: GraphqlClient) -> None:
    player = await register(client)
    everything: list[tuple[str, dict[str, Any]]] = [
        (VOID, {"userId": player.user_id, "actionId": str(uuid.uuid4()), "reason": WHY}),
        (ADJUST, {"userId": player.user_id, "delta": 1, "reason": WHY}),
        (BLOCK, {"userId": player.user_id, "reason": WHY}),
        (UNBLOCK, {"userId": player.user_id, "reason": WHY}),
        (CLOSE, {"flagId": "x", "note": WHY}),
    ]
    for document, fields in everything:
        with pytest.raises(GraphqlError) as refused:
            await client.execute(document, {"input": fields}, player.access_token)
        assert refused.value.reason == "PERMISSION_DENIED"
        with pytest.raises(GraphqlError) as anonymous:
            await client.execute(document, {"input": fields})
        assert anonymous.value.reason == "UNAUTHENTICATED"
    with pytest.raises(GraphqlError) as refused:
        await client.execute(FLAGS, {}, player.access_token)
    assert refused.value.reason == "PERMISSION_DENIED"


async def test_answers_faster_than_anybody_reads_are_flagged_with_what_was_seen(
    client: GraphqlClient, moderator: Moderator, quiz_id: str
) -> None:
    player = await register(client)
    await client.execute("query ($id: ID!) { quiz(id: $id) { id } }", {"id": quiz_id}, player.access_token)
    await player.submit(quiz_id, [("q1", "a"), ("q2", "a")])
    async with asyncio.timeout(20):
        while not (found := [flag for flag in await flags(moderator) if flag["userId"] == player.user_id]):
            await asyncio.sleep(0.02)
    (flag,) = found
    assert (flag["rule"], flag["state"], flag["user"]["username"]) == ("impossible_time", "OPEN", player.username)
    numbers = {each["name"]: each["value"] for each in flag["evidence"]}
    assert numbers["questions"] == 2
    assert 0 <= numbers["elapsed_ms"] < numbers["limit_ms"] == 300
    closed = await moderator.do(CLOSE, flagId=flag["flagId"], note="a test player")
    assert (closed["state"], closed["note"]) == ("CLOSED", "a test player")
    assert closed["closedBy"]
    assert player.user_id not in {each["userId"] for each in await flags(moderator, state="OPEN")}
    with pytest.raises(GraphqlError) as nothing:
        await moderator.do(CLOSE, flagId="no such flag", note=WHY)
    assert nothing.value.reason == "FLAG_NOT_FOUND"


async def flags(moderator: Moderator, state: str | None = None) -> list[dict[str, Any]]:
    """All flags, page by page."""
    found: list[dict[str, Any]] = []
    after = None
    while True:
        page = (await moderator.ask(FLAGS, after=after, state=state))["flags"]
        found += [edge["node"] for edge in page["edges"]]
        if not page["pageInfo"]["hasNextPage"]:
            return found
        after = page["pageInfo"]["endCursor"]
