"""Playing over GraphQL, from a new account to the board."""

from __future__ import annotations

import re
import unicodedata
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.cli.system.client import GraphqlClient, GraphqlError
from services.runtime.clock import utc_now
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import PASSWORD, SUBMIT, Player, endpoints, register, shows, stream, until
from tests.servers import RunningStack, unique

RIGHT = [("q1", "a"), ("q2", "a")]


@pytest.fixture
async def quiz_id(stack: RunningStack) -> str:
    made = unique("graphql-")
    await import_quiz(endpoints(stack), quiz_definition(made))
    return made


async def refused(player: Player, document: str, **variables: object) -> str:
    with pytest.raises(GraphqlError) as error:
        await player.client.execute(document, variables, player.access_token)
    return error.value.reason


async def test_a_new_player_submits_a_quiz_and_is_on_every_board(
    stack: RunningStack, client: GraphqlClient, player: Player, quiz_id: str
) -> None:
    async with stream(stack.http, player.access_token, f"quiz:{quiz_id}") as events:
        result = await player.submit(quiz_id, RIGHT)
        assert result["success"] is True
        assert result["duplicate"] is False
        assert (result["pointsAwarded"], result["correctAnswers"], result["totalQuestions"]) == (20, 2, 2)
        await until(events, shows(player.username, 20))

    now = utc_now()
    week = "{}-{:02}".format(*now.isocalendar()[:2])
    boards = [
        {"kind": "ALL"},
        {"kind": "WEEKLY"},
        {"kind": "WEEKLY", "period": week},
        {"kind": "MONTHLY"},
        {"kind": "MONTHLY", "period": f"{now:%Y-%m}"},
        {"kind": "COUNTRY", "country": "VN"},
        {"kind": "QUIZ", "quizId": quiz_id},
    ]
    document = "query ($board: BoardInput) { me { userId username country roles score rank(board: $board) } }"
    for board in boards:
        me = (await client.execute(document, {"board": board}, player.access_token))["me"]
        assert me["rank"] >= 1, board
        assert me["score"] == 20
    assert (me["userId"], me["username"], me["country"], me["roles"]) == (
        player.user_id,
        player.username,
        "VN",
        ["player"],
    )

    entries = await player.top({"kind": "QUIZ", "quizId": quiz_id})
    assert entries == [
        {
            "userId": player.user_id,
            "username": player.username,
            "score": 20,
            "rank": 1,
            "country": "VN",
            "previousRank": None,
            "gapToNext": None,
        }
    ]


async def test_the_leaderboard_requires_no_argument(client: GraphqlClient, player: Player) -> None:
    data = await client.execute("{ getLeaderboard { userId username score rank } }", {}, player.access_token)
    entries = data["getLeaderboard"]
    assert len(entries) <= 10
    assert [entry["rank"] for entry in entries] == list(range(1, len(entries) + 1))


async def test_a_repeated_action_has_its_first_response_and_counts_once(player: Player, quiz_id: str) -> None:
    action_id = str(uuid.uuid4())
    first = await player.submit(quiz_id, RIGHT, action_id)
    # The payload is the quiz and the answers; the client's clock is not part of it.
    long_ago = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    again = await player.submit(quiz_id, RIGHT, action_id, timestamp=long_ago)
    assert again == first | {"duplicate": True}


async def test_an_action_with_other_answers_is_refused(player: Player, quiz_id: str) -> None:
    action_id = str(uuid.uuid4())
    await player.submit(quiz_id, RIGHT, action_id)
    with pytest.raises(GraphqlError) as error:
        await player.submit(quiz_id, [("q1", "b")], action_id)
    assert error.value.reason == "ACTION_ID_CONFLICT"


async def test_wrong_and_missing_answers_earn_no_points(player: Player, quiz_id: str) -> None:
    result = await player.submit(quiz_id, [("q1", "b")])
    assert result["success"] is True
    assert (result["pointsAwarded"], result["correctAnswers"], result["totalQuestions"]) == (0, 0, 2)
    assert result["message"] == "0 of 2 correct, 0 points."


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"quizId": "no-such-quiz"}, "QUIZ_NOT_FOUND"),
        ({"actionId": "not a uuid"}, "INVALID_ARGUMENT"),
        ({"answers": [{"questionId": "q9", "selectedOption": "a"}]}, "INVALID_ARGUMENT"),
        ({"answers": [{"questionId": "q1", "selectedOption": "a"}] * 2}, "INVALID_ARGUMENT"),
        ({"timestamp": "2020-01-01T00:00:00Z"}, "TIMESTAMP_OUT_OF_WINDOW"),
        ({"timestamp": "2999-01-01T00:00:00Z"}, "TIMESTAMP_OUT_OF_WINDOW"),
        ({"timestamp": "yesterday"}, "INVALID_ARGUMENT"),
        ({"answers": None}, "INVALID_ARGUMENT"),
    ],
)
async def test_an_invalid_action_is_refused(player: Player, quiz_id: str, changes: dict[str, Any], reason: str) -> None:
    action = {
        "quizId": quiz_id,
        "actionId": str(uuid.uuid4()),
        "answers": [{"questionId": "q1", "selectedOption": "a"}],
        "timestamp": utc_now().isoformat(),
    }
    assert await refused(player, SUBMIT, input=action | changes) == reason


async def test_no_quiz_reveals_its_answer_key(
    stack: RunningStack, client: GraphqlClient, player: Player, quiz_id: str
) -> None:
    document = """query ($id: ID!) { quiz(id: $id) {
      id title description tags maxAttempts opensAt closesAt questions { id text kind points options { id text } }
    } }"""
    data = await client.execute(document, {"id": quiz_id}, player.access_token)
    assert data["quiz"] == {
        "id": quiz_id,
        "title": f"About {quiz_id}",
        "description": "",
        "tags": ["test"],
        "maxAttempts": None,
        "opensAt": None,
        "closesAt": None,
        "questions": [
            {
                "id": f"q{number}",
                "text": f"Question {number}?",
                "kind": "SINGLE_CHOICE",
                "points": 10,
                "options": [{"id": "a", "text": "This"}, {"id": "b", "text": "That"}],
            }
            for number in (1, 2)
        ],
    }
    schema = (await client.execute("{ __schema { types { name fields { name } } } }", {}))["__schema"]
    names = {f"{kind['name']}.{field['name']}" for kind in schema["types"] for field in kind["fields"] or []}
    telling = {name for name in names if re.search("correct(?!Answers)|right|key|solution", name, re.IGNORECASE)}
    # A board's key is its name. A question's is told by the feedback of its quiz and at the reveal in a room.
    told = {"QuestionOutcome.correct", "AnsweredQuestion.correct", "Room.rightAnswer", "RoomQuestionResult.right"}
    assert telling == {"Board.key", *told}


async def test_quizzes_are_paged_in_order_and_completely(client: GraphqlClient, player: Player) -> None:
    document = """query ($first: Int!, $after: String) { quizzes(first: $first, after: $after) {
      totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor } edges { cursor node { id } }
    } }"""

    async def page(first: int, after: str | None) -> dict[str, object]:
        data = await client.execute(document, {"first": first, "after": after}, player.access_token)
        found: dict[str, object] = data["quizzes"]
        return found

    whole: list[str] = []
    after = None
    for _ in range(100):
        part: dict[str, Any] = await page(3, after)
        whole += [edge["node"]["id"] for edge in part["edges"]]
        assert part["pageInfo"]["endCursor"] == part["edges"][-1]["cursor"]
        assert part["pageInfo"]["hasPreviousPage"] is (after is not None)
        after = part["pageInfo"]["endCursor"]
        if not part["pageInfo"]["hasNextPage"]:
            break
    assert len(whole) == part["totalCount"]
    assert whole == sorted(set(whole))
    # A page may start after any edge, not only after the last of a page.
    middle: dict[str, Any] = await page(2, None)
    rest: dict[str, Any] = await page(1, middle["edges"][0]["cursor"])
    assert rest["edges"][0]["node"]["id"] == whole[1]


async def test_quizzes_are_found_by_tag(stack: RunningStack, client: GraphqlClient, player: Player) -> None:
    """Whichever form of Unicode the definition and the query have."""
    document = "query ($tag: String) { quizzes(tag: $tag) { totalCount edges { node { tags } } } }"
    found = (await client.execute(document, {"tag": "geography"}, player.access_token))["quizzes"]
    assert found["edges"]
    assert all("geography" in edge["node"]["tags"] for edge in found["edges"])
    definition = quiz_definition(unique("tagged-"))
    tag = unicodedata.normalize("NFD", unique("été-"))
    definition.tags[:] = [tag]
    await import_quiz(endpoints(stack), definition)
    for form in ("NFC", "NFD"):
        query = {"tag": unicodedata.normalize(form, tag)}
        assert (await client.execute(document, query, player.access_token))["quizzes"]["totalCount"] == 1
    assert (await client.execute(document, {"tag": "no such tag"}, player.access_token))["quizzes"]["totalCount"] == 0


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("{ getLeaderboard(limit: 0) { rank } }", "INVALID_ARGUMENT"),
        ("{ getLeaderboard(limit: 101) { rank } }", "INVALID_ARGUMENT"),
        ("{ getLeaderboard(board: {kind: COUNTRY}) { rank } }", "INVALID_ARGUMENT"),
        ("{ getLeaderboard(board: {kind: QUIZ}) { rank } }", "INVALID_ARGUMENT"),
        ('{ getLeaderboard(board: {kind: ALL, period: "2026-47"}) { rank } }', "INVALID_ARGUMENT"),
        ('{ getLeaderboard(board: {kind: WEEKLY, period: "2026-99"}) { rank } }', "BOARD_NOT_FOUND"),
        ("{ quizzes(first: 51) { totalCount } }", "INVALID_ARGUMENT"),
        ('{ quizzes(after: "?") { totalCount } }', "INVALID_ARGUMENT"),
        ('{ quiz(id: "no-such-quiz") { id } }', "QUIZ_NOT_FOUND"),
        ('{ quiz(id: "") { id } }', "INVALID_ARGUMENT"),
        ("{ me { nothing } }", "INVALID_ARGUMENT"),
        ("{ me {", "INVALID_ARGUMENT"),
    ],
)
async def test_each_refusal_has_its_reason(player: Player, document: str, reason: str) -> None:
    assert await refused(player, document) == reason


async def test_a_username_is_unique_and_a_failed_login_reveals_no_username(
    client: GraphqlClient, player: Player
) -> None:
    with pytest.raises(GraphqlError) as taken:
        await register(client, username=player.username)
    assert taken.value.reason == "USERNAME_TAKEN"
    messages = set()
    for username in (player.username, unique("nobody-")):
        with pytest.raises(GraphqlError) as wrong:
            await client.login(username, "not the password")
        assert wrong.value.reason == "CREDENTIALS_INVALID"
        messages.add(str(wrong.value))
    assert len(messages) == 1
    assert await client.login(player.username, PASSWORD)


async def get_users_calls(stack: RunningStack) -> float:
    async with aiohttp.ClientSession() as session, session.get(stack.endpoints["metrics"]["identity"]) as answer:
        families = text_string_to_metric_families(await answer.text())
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "grpc_server_handled_total" and sample.labels["grpc_method"] == "GetUsers"
    )


async def test_a_hundred_entries_with_their_users_are_one_call(
    stack: RunningStack, client: GraphqlClient, quiz_id: str
) -> None:
    players = [await register(client) for _ in range(100)]
    async with stream(stack.http, players[0].access_token, f"quiz:{quiz_id}") as events:
        for player in players:
            await player.submit(quiz_id, RIGHT)
        document = """query ($board: BoardInput) {
          getLeaderboard(board: $board, limit: 100) { userId username country user { userId username country roles } }
        }"""
        board = {"kind": "QUIZ", "quizId": quiz_id}
        await until(events, lambda data: len(data["leaderboard"]) == 10)
        entries: list[dict[str, Any]] = []
        while len(entries) < 100:
            before = await get_users_calls(stack)
            data = await client.execute(document, {"board": board}, players[0].access_token)
            entries = data["getLeaderboard"]
    # The board's names are cached by now, so that only the nested users are read again.
    before = await get_users_calls(stack)
    entries = (await client.execute(document, {"board": board}, players[0].access_token))["getLeaderboard"]
    assert await get_users_calls(stack) - before == 1
    assert {entry["userId"] for entry in entries} == {player.user_id for player in players}
    for entry in entries:
        own = ["player"] if entry["userId"] == players[0].user_id else []
        assert entry["user"] == {key: entry[key] for key in ("userId", "username", "country")} | {"roles": own}
