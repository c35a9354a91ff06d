"""Voids, adjustments, blocks and flags, as moderators and players see them; and a player's change of country."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from topten.quiz.v1 import quiz_pb2

from services.cli.system.client import GraphqlClient, GraphqlError
from tests.deadline import eventually
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import Player, endpoints, register, shows, stream, until
from tests.servers import RunningStack, unique

VOID = "mutation ($input: VoidActionInput!) { voidAction(input: $input) { success eventId scoreDelta duplicate } }"
ADJUST = "mutation ($input: AdjustScoreInput!) { adjustScore(input: $input) { success eventId scoreDelta duplicate } }"
EFFECT = """mutation ($input: AdjustScoreInput!) { adjustScore(input: $input) {
  scoreDelta newScore boardsChanged closedPeriodsUnchanged } }"""
RESEAL = "mutation ($input: ResealPeriodInput!) { resealPeriod(input: $input) { board changed changes { userId } } }"
BLOCK = "mutation ($input: BlockUserInput!) { blockUser(input: $input) { success eventId } }"
ACCOUNT = "user { block { reason expiresAt } sanctions { sanctionId reason automatic adminOnly } }"
BLOCK_BESIDE = f"mutation ($input: BlockUserInput!) {{ blockUser(input: $input) {{ eventId sanctionId {ACCOUNT} }} }}"
UNBLOCK_ONE = f"mutation ($input: UnblockUserInput!) {{ unblockUser(input: $input) {{ eventId {ACCOUNT} }} }}"
UNBLOCK = "mutation ($input: UnblockUserInput!) { unblockUser(input: $input) { success eventId } }"
UPDATE_PROFILE = "mutation ($input: UpdateProfileInput!) { updateProfile(input: $input) { userId country } }"
LOGIN = "mutation ($input: LoginInput!) { login(input: $input) { accessToken } }"
REFRESH = "mutation ($token: String!) { refreshToken(refreshToken: $token) { accessToken } }"
HISTORY = """query ($user: ID) { scoreHistory(userId: $user) { edges { node {
  kind delta newScore actor reason quizId } } } }"""
FLAGS = """query ($after: String, $state: FlagState) { flags(first: 100, after: $after, state: $state) {
  edges { cursor node { flagId userId rule reason evidence { name value } state closedBy note user { username } } }
  pageInfo { hasNextPage endCursor } } }"""
CLOSE = "mutation ($input: CloseFlagInput!) { closeFlag(input: $input) { state note closedBy } }"
PASSWORD = "correct horse battery"
REASON = "a test"


class Moderator:
    """A client with the role moderator."""

    def __init__(self, client: GraphqlClient, token: str) -> None:
        self._client = client
        self._token = token

    async def do(self, document: str, **fields: Any) -> Any:
        """Execute a mutation; return its field of the response."""
        data = await self._client.execute(document, {"input": fields}, self._token)
        return next(iter(data.values()))

    async def ask(self, document: str, **variables: Any) -> Any:
        return await self._client.execute(document, variables, self._token)


@pytest_asyncio.fixture
async def moderator(stack: RunningStack, client: GraphqlClient) -> Moderator:
    account = stack.endpoints["moderator"]
    return Moderator(client, await client.login(account["username"], account["password"]))


@pytest_asyncio.fixture
async def quiz_id(stack: RunningStack) -> str:
    name = unique("moderated-")
    await import_quiz(endpoints(stack), quiz_definition(name, counting=quiz_pb2.COUNTING_BEST))
    return name


async def until_on_board(player: Player, score: int | None, board: dict[str, Any]) -> None:
    """Wait until the board has the player with this score, or does not have them (None)."""

    async def is_on_board() -> bool:
        scores = {entry["userId"]: entry["score"] for entry in await player.top(board, 100)}
        return scores.get(player.user_id) == score

    await eventually(is_on_board, f"a score of {score} on {board}")


async def kinds(player: Player) -> list[str]:
    data = await player.client.execute(HISTORY, {}, player.access_token)
    return [edge["node"]["kind"] for edge in data["scoreHistory"]["edges"]]


async def test_voided_action_stops_counting_and_the_best_of_the_others_counts(
    client: GraphqlClient, moderator: Moderator, quiz_id: str
) -> None:
    player = await register(client, country="IS")
    one, two = await player.submit(quiz_id, [("q1", "a")]), await player.submit(quiz_id, [("q1", "a"), ("q2", "a")])
    board = {"kind": "QUIZ", "quizId": quiz_id}
    await until_on_board(player, 20, board)
    voided = await moderator.do(VOID, userId=player.user_id, actionId=two["actionId"], reason=REASON)
    assert (voided["scoreDelta"], voided["duplicate"]) == (-10, False)
    await until_on_board(player, 10, board)
    await until_on_board(player, 10, {"kind": "COUNTRY", "country": "IS"})
    again = await moderator.do(VOID, userId=player.user_id, actionId=two["actionId"], reason="another")
    assert again == {**voided, "duplicate": True}
    # Later attempts count as if it had never happened.
    assert (await moderator.do(VOID, userId=player.user_id, actionId=one["actionId"], reason=REASON))[
        "scoreDelta"
    ] == -10
    await until_on_board(player, None, board)
    await player.submit(quiz_id, [("q2", "a")])
    await until_on_board(player, 10, board)
    assert await kinds(player) == [
        "QUIZ_COMPLETED",
        "ACTION_VOIDED",
        "ACTION_VOIDED",
        "QUIZ_COMPLETED",
        "QUIZ_COMPLETED",
    ]
    with pytest.raises(GraphqlError) as refused:
        await moderator.do(VOID, userId=player.user_id, actionId=str(uuid.uuid4()), reason=REASON)
    assert refused.value.reason == "ACTION_NOT_FOUND"


async def test_adjustment_counts_once_per_id_and_is_in_the_history(client: GraphqlClient, moderator: Moderator) -> None:
    player, action_id = await register(client, country="FO"), str(uuid.uuid4())
    country = {"kind": "COUNTRY", "country": "FO"}
    for duplicate in (False, True):
        done = await moderator.do(ADJUST, userId=player.user_id, delta=70, reason="a prize", actionId=action_id)
        assert done["duplicate"] is duplicate
    await player.submit("arithmetic-sprint", [("q5", "true")])
    await until_on_board(player, 75, country)
    # The week has more players than a page; only a very high score is certain to be on it.
    await moderator.do(ADJUST, userId=player.user_id, delta=1_000_000, reason="far ahead")
    await until_on_board(player, 1_000_075, {"kind": "WEEKLY"})
    await moderator.do(ADJUST, userId=player.user_id, delta=-1_000_075, reason="taken back")
    await until_on_board(player, None, {"kind": "WEEKLY"})
    await until_on_board(player, None, country)
    data = await moderator.ask(HISTORY, user=player.user_id)
    newest = data["scoreHistory"]["edges"][0]["node"]
    assert (newest["kind"], newest["delta"], newest["newScore"], newest["reason"]) == (
        "SCORE_ADJUSTED",
        -1_000_075,
        0,
        "taken back",
    )
    assert newest["actor"], "a moderator sees the actor"
    own = await player.client.execute(HISTORY, {}, player.access_token)
    assert own["scoreHistory"]["edges"][0]["node"]["actor"] is None, "the player does not"
    with pytest.raises(GraphqlError) as conflict:
        await moderator.do(ADJUST, userId=player.user_id, delta=71, reason=REASON, actionId=action_id)
    assert conflict.value.reason == "ACTION_ID_CONFLICT"
    with pytest.raises(GraphqlError) as unknown:
        await moderator.do(ADJUST, userId=str(uuid.uuid4()), delta=71, reason=REASON)
    assert unknown.value.reason == "PLAYER_NOT_FOUND"


async def test_adjustments_beyond_32_bits_can_be_taken_back(
    client: GraphqlClient, moderator: Moderator, quiz_id: str
) -> None:
    first, board = await register(client, country="AX"), {"kind": "COUNTRY", "country": "AX"}
    await first.submit(quiz_id, [("q1", "a")])
    await until_on_board(first, 10, board)
    for delta in (10**9, 10**9, 10**9, -(10**9), -(10**9), -(10**9)):
        done = await moderator.do(EFFECT, userId=first.user_id, delta=delta, reason=REASON)
        assert done["scoreDelta"] == delta
        if done["newScore"] is not None:  # else it is not counted within 2 s
            assert {"all", "country:AX"} <= set(done["boardsChanged"])
            assert done["closedPeriodsUnchanged"] == []
    cheated = await first.submit(quiz_id, [("q1", "a"), ("q2", "a")])
    await until_on_board(first, 20, board)
    await moderator.do(VOID, userId=first.user_id, actionId=cheated["actionId"], reason=REASON)
    await until_on_board(first, 10, board)


async def test_blocked_player_is_on_no_board_and_cannot_act_until_unblocked(
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
        await until_on_board(player, 10, board)
    async with stream(stack.http, other.access_token, f"quiz:{quiz_id}") as events:
        await until(events, shows(player.username, 10))
        await moderator.do(BLOCK, userId=player.user_id, reason="cheating")
        await until(events, lambda data: [e["username"] for e in data["leaderboard"]] == [other.username])
    for board in boards:
        await until_on_board(player, None, board)
    with pytest.raises(GraphqlError) as blocked:
        await player.submit(quiz_id, [("q2", "a")])
    assert blocked.value.reason == "PLAYER_BLOCKED"
    replay = await player.submit(quiz_id, [("q1", "a")], recorded["actionId"])
    assert replay == {**recorded, "duplicate": True}, "a recorded action is replayed"
    for document, variables in (
        (LOGIN, {"input": {"username": player.username, "password": PASSWORD}}),
        (UPDATE_PROFILE, {"input": {"country": "DK"}}),
    ):
        with pytest.raises(GraphqlError) as refused:
            await client.execute(document, variables, player.access_token)
        assert refused.value.reason == "PLAYER_BLOCKED"
    with pytest.raises(GraphqlError) as ended:
        await client.execute(REFRESH, {"token": player.refresh_token})
    assert ended.value.reason == "UNAUTHENTICATED", "the block ended the session"
    await moderator.do(UNBLOCK, userId=player.user_id, reason="a mistake")
    for board in boards[:2]:
        await until_on_board(player, 10, board)
    await player.submit(quiz_id, [("q1", "a"), ("q2", "a")])
    await until_on_board(player, 20, boards[1])
    assert (await moderator.do(UNBLOCK, userId=player.user_id, reason=REASON))["eventId"] is None


async def test_moderator_sees_each_sanction_and_lifts_it_by_its_id(
    stack: RunningStack, client: GraphqlClient, moderator: Moderator
) -> None:
    player = await register(client)
    ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="milliseconds")
    first = await moderator.do(BLOCK_BESIDE, userId=player.user_id, reason="for good")
    second = await moderator.do(BLOCK_BESIDE, userId=player.user_id, reason="an hour", expiresAt=ends)
    assert first["eventId"] is not None
    assert second["eventId"] is None, "the stronger sanction holds"
    assert second["user"]["block"] == {"reason": "for good", "expiresAt": None}
    ids = [sanction["sanctionId"] for sanction in second["user"]["sanctions"]]
    assert ids == [first["sanctionId"], second["sanctionId"]]
    lifted = await moderator.do(UNBLOCK_ONE, userId=player.user_id, reason="a mistake", sanctionId=first["sanctionId"])
    assert lifted["user"]["block"]["reason"] == "an hour"
    everything = await moderator.do(UNBLOCK_ONE, userId=player.user_id, reason="a mistake")
    assert everything["user"] == {"block": None, "sanctions": []}
    await client.login(player.username, PASSWORD)


async def test_block_ends_when_it_expires(client: GraphqlClient, moderator: Moderator, quiz_id: str) -> None:
    player, board = await register(client), {"kind": "QUIZ", "quizId": quiz_id}
    await player.submit(quiz_id, [("q1", "a")])
    await until_on_board(player, 10, board)
    ends = datetime.now(UTC) + timedelta(seconds=2)
    await moderator.do(BLOCK, userId=player.user_id, reason=REASON, expiresAt=ends.isoformat(timespec="milliseconds"))

    async def is_over() -> bool:
        return (await kinds(player))[:2] == ["PLAYER_UNBLOCKED", "PLAYER_BLOCKED"]

    await eventually(is_over, "the end of the block")
    assert datetime.now(UTC) >= ends
    await until_on_board(player, 10, board)
    await client.login(player.username, PASSWORD)
    past = (ends - timedelta(hours=1)).isoformat(timespec="milliseconds")
    with pytest.raises(GraphqlError) as refused:
        await moderator.do(BLOCK, userId=player.user_id, reason=REASON, expiresAt=past)
    assert refused.value.reason == "INVALID_ARGUMENT"


async def test_score_moves_to_the_board_of_the_new_country(client: GraphqlClient, quiz_id: str) -> None:
    player = await register(client, country="FJ")
    await player.submit(quiz_id, [("q1", "a")])
    await until_on_board(player, 10, {"kind": "COUNTRY", "country": "FJ"})
    moved = await client.execute(UPDATE_PROFILE, {"input": {"country": "TO"}}, player.access_token)
    assert moved["updateProfile"] == {"userId": player.user_id, "country": "TO"}
    await until_on_board(player, 10, {"kind": "COUNTRY", "country": "TO"})
    await until_on_board(player, None, {"kind": "COUNTRY", "country": "FJ"})
    # The token still has the old country, which the score ignores.
    await player.submit(quiz_id, [("q1", "a"), ("q2", "a")])
    await until_on_board(player, 20, {"kind": "COUNTRY", "country": "TO"})
    await until_on_board(player, None, {"kind": "COUNTRY", "country": "FJ"})

    async def is_shown_in_the_new_country() -> bool:
        return {entry["country"] for entry in await player.top({"kind": "QUIZ", "quizId": quiz_id})} == {"TO"}

    await eventually(is_shown_in_the_new_country)


async def test_profile_update_needs_a_valid_country_or_null(client: GraphqlClient) -> None:
    player = await register(client, country="FJ")
    for wrong in ({}, {"country": "XX"}, {"country": "fj"}):
        with pytest.raises(GraphqlError) as refused:
            await client.execute(UPDATE_PROFILE, {"input": wrong}, player.access_token)
        assert refused.value.reason == "INVALID_ARGUMENT"
    without_country = await client.execute(UPDATE_PROFILE, {"input": {"country": None}}, player.access_token)
    assert without_country["updateProfile"]["country"] is None


async def test_period_that_is_not_closed_cannot_be_resealed(moderator: Moderator) -> None:
    for board in ({"kind": "WEEKLY", "period": "2200-01"}, {"kind": "WEEKLY"}, {"kind": "ALL"}):
        with pytest.raises(GraphqlError) as refused:
            await moderator.do(RESEAL, board=board, reason=REASON)
        assert refused.value.reason == "INVALID_ARGUMENT"


async def test_only_moderators_can_moderate(client: GraphqlClient) -> None:
    player = await register(client)
    mutations: list[tuple[str, dict[str, Any]]] = [
        (VOID, {"userId": player.user_id, "actionId": str(uuid.uuid4()), "reason": REASON}),
        (ADJUST, {"userId": player.user_id, "delta": 1, "reason": REASON}),
        (BLOCK, {"userId": player.user_id, "reason": REASON}),
        (UNBLOCK, {"userId": player.user_id, "reason": REASON}),
        (CLOSE, {"flagId": "x", "note": REASON}),
    ]
    for document, fields in mutations:
        with pytest.raises(GraphqlError) as refused:
            await client.execute(document, {"input": fields}, player.access_token)
        assert refused.value.reason == "PERMISSION_DENIED"
        with pytest.raises(GraphqlError) as anonymous:
            await client.execute(document, {"input": fields})
        assert anonymous.value.reason == "UNAUTHENTICATED"
    with pytest.raises(GraphqlError) as refused:
        await client.execute(FLAGS, {}, player.access_token)
    assert refused.value.reason == "PERMISSION_DENIED"


async def test_answers_faster_than_reading_are_flagged_with_evidence(
    client: GraphqlClient, moderator: Moderator, quiz_id: str
) -> None:
    player = await register(client)
    await client.execute("query ($id: ID!) { quiz(id: $id) { id } }", {"id": quiz_id}, player.access_token)
    await player.submit(quiz_id, [("q1", "a"), ("q2", "a")])

    async def flags_of_player() -> list[dict[str, Any]]:
        return [flag for flag in await flags(moderator) if flag["userId"] == player.user_id]

    (flag,) = await eventually(flags_of_player, "a flag of the player")
    assert (flag["rule"], flag["state"], flag["user"]["username"]) == ("impossible_time", "OPEN", player.username)
    numbers = {each["name"]: each["value"] for each in flag["evidence"]}
    assert numbers["questions"] == 2
    assert 0 <= numbers["elapsed_ms"] < numbers["limit_ms"] == 300
    closed = await moderator.do(CLOSE, flagId=flag["flagId"], note="a test player")
    assert (closed["state"], closed["note"]) == ("CLOSED", "a test player")
    assert closed["closedBy"]
    assert player.user_id not in {each["userId"] for each in await flags(moderator, state="OPEN")}
    with pytest.raises(GraphqlError) as unknown:
        await moderator.do(CLOSE, flagId="no such flag", note=REASON)
    assert unknown.value.reason == "FLAG_NOT_FOUND"


async def flags(moderator: Moderator, state: str | None = None) -> list[dict[str, Any]]:
    """Return all flags, page by page."""
    nodes: list[dict[str, Any]] = []
    after = None
    while True:
        page = (await moderator.ask(FLAGS, after=after, state=state))["flags"]
        nodes += [edge["node"] for edge in page["edges"]]
        if not page["pageInfo"]["hasNextPage"]:
            return nodes
        after = page["pageInfo"]["endCursor"]
