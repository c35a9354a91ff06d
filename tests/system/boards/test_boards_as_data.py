"""Boards as data over GraphQL and the command line, from the definition to the screen, over real processes."""

from __future__ import annotations

from typing import Any

import pytest
from topten.quiz.v1 import quiz_pb2

from services.cli.system.client import GraphqlClient, GraphqlError
from tests.deadline import eventually
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import Player, endpoints, register, stream, until
from tests.servers import RunningStack, unique
from tests.system.actions.test_player_actions import admin, define, submit

__all__ = ["admin"]
PUT = """mutation ($input: BoardDefinitionInput!) { putBoard(input: $input) {
  changed board { name title sources aggregate order period timeZone segment state version declared archivedAt }
} }"""
ARCHIVE = "mutation ($name: String!) { archiveBoard(name: $name) { changed board { state } } }"
LIST = "{ definedBoards { name state progressPercent } }"
STALE = "query ($board: BoardInput!) { leaderboard(board: $board, first: 1) { stale } }"
TOP = """query ($board: BoardInput) { getLeaderboard(board: $board) { username score rank gapToNext } }"""
VOID = "mutation ($input: VoidActionInput!) { voidAction(input: $input) { success } }"
REJUDGE = 'mutation ($id: ID!) { rejudgeQuiz(quizId: $id, dryRun: false, reason: "a wrong key") { changed } }'
QUESTIONS = """query ($board: BoardInput!, $user: ID!) {
  leaderboard(board: $board, first: 5) { stale board { key kind period startsAt timeZone } edges { node { username score } } }
  aroundPlayer(board: $board, userId: $user) { entries { username score } }
  better: rankIfScore(board: $board, points: 3)
  worse: rankIfScore(board: $board, points: 50)
  scoreForPercentile(board: $board, percentile: 1)
}"""


async def put(client: GraphqlClient, token: str, **fields: Any) -> dict[str, Any]:
    data = await client.execute(PUT, {"input": fields}, token)
    change: dict[str, Any] = data["putBoard"]
    return change


async def until_ready(client: GraphqlClient, token: str, name: str) -> None:
    async def is_ready() -> bool:
        boards = (await client.execute(LIST, {}, token))["definedBoards"]
        return any(each["name"] == name and each["state"] == "READY" for each in boards) and await is_known()

    async def is_known() -> bool:
        try:
            data = await client.execute(STALE, {"board": {"kind": "CUSTOM", "name": name}}, token)
        except GraphqlError as error:
            assert error.reason == "BOARD_NOT_FOUND"
            return False
        return data["leaderboard"]["stale"] is False

    await eventually(is_ready, f"{name} is ready, and readers know it")


async def top(client: GraphqlClient, player: Player, name: str) -> list[tuple[str, int, int, int | None]]:
    board = {"kind": "CUSTOM", "name": name}
    entries = (await client.execute(TOP, {"board": board}, player.access_token))["getLeaderboard"]
    return [(each["username"], each["score"], each["rank"], each["gapToNext"]) for each in entries]


async def test_a_board_of_lap_times_ranks_the_fastest_and_finds_the_past(
    stack: RunningStack, client: GraphqlClient, admin: str
) -> None:
    lap = await define(client, admin, "perUnit")  # two points a unit
    fast, slow = await register(client), await register(client)
    for player, quantity in ((fast, 45), (slow, 20), (fast, 6)):
        await submit(player, lap, quantity=quantity, wait="COUNTED")
    name = unique("laps-")[:32]
    change = await put(
        client, admin, name=name, title="Best lap", sources=[f"action:{lap}"], aggregate="BEST", order="ASC",
        period="daily", timeZone="Asia/Ho_Chi_Minh",
    )  # fmt: skip
    assert change["changed"] is True
    assert change["board"] | {"state": ""} == {
        "name": name, "title": "Best lap", "sources": [f"action:{lap}"], "aggregate": "BEST", "order": "ASC",
        "period": "daily", "timeZone": "Asia/Ho_Chi_Minh", "segment": "all", "state": "", "version": 1, "declared": False,
        "archivedAt": None,
    }  # fmt: skip
    await until_ready(client, admin, name)

    async def has_both() -> bool:
        return await top(client, fast, name) == [(fast.username, 12, 1, None), (slow.username, 40, 2, 28)]

    await eventually(has_both, "the fastest lap is first")
    async with stream(stack.http, slow.access_token, f"custom:{name}") as events:
        result = await submit(slow, lap, quantity=3, wait="COUNTED", boards=[{"kind": "CUSTOM", "name": name}])
        # Null if counting takes longer than the request may.
        assert [(each["rank"], each["score"]) for each in result["standings"] or ()] in ([(1, 6)], [])
        await until(
            events,
            lambda event: [(e["username"], e["score"]) for e in event["leaderboard"]][:1] == [(slow.username, 6)],
        )
    asked = {"board": {"kind": "CUSTOM", "name": name}, "user": slow.user_id}

    async def is_complete() -> bool:
        """Leaderboard learns a little later than score that nothing is missing any more."""
        answer = await client.execute(QUESTIONS, asked, slow.access_token)
        return answer["leaderboard"]["stale"] is False

    await eventually(is_complete, "the board is read as a complete one")
    answer = await client.execute(QUESTIONS, asked, slow.access_token)
    assert [(e["node"]["username"], e["node"]["score"]) for e in answer["leaderboard"]["edges"]] == [
        (slow.username, 6),
        (fast.username, 12),
    ]
    assert answer["leaderboard"]["board"]["timeZone"] == "Asia/Ho_Chi_Minh"
    assert [(e["username"], e["score"]) for e in answer["aroundPlayer"]["entries"]] == [
        (slow.username, 6),
        (fast.username, 12),
    ]
    assert (answer["better"], answer["worse"]) == (1, 2), "of others: the caller's own place is left out"
    assert answer["scoreForPercentile"] == 12
    closing = await client.execute(ARCHIVE, {"name": name}, admin)
    assert closing["archiveBoard"] == {"changed": True, "board": {"state": "ARCHIVED"}}

    async def is_kept() -> bool:
        await submit(slow, lap, quantity=50)
        return await top(client, fast, name) == [(slow.username, 6, 1, None), (fast.username, 12, 2, 6)]

    await eventually(is_kept, "the last state can be read")


async def test_board_of_a_tag_counts_what_had_it_and_corrections_act_where_the_action_counted(
    stack: RunningStack, client: GraphqlClient, admin: str
) -> None:
    old, new = unique("old-")[:32], unique("new-")[:32]
    quiz = quiz_definition(unique("tagged-"), counting=quiz_pb2.COUNTING_SUM)
    quiz.tags[:] = [old, "Not one of a board"]
    await import_quiz(endpoints(stack), quiz)
    walk, player = await define(client, admin, "fixed", tags=[old]), await register(client)
    first = await player.submit(quiz.quiz_id, [("q1", "a"), ("q2", "a")])
    await submit(player, walk, wait="COUNTED")

    async def shows(tag: str, *points: int) -> None:
        async def has_them() -> bool:
            return [score for _, score, _, _ in await top(client, player, f"of-{tag}"[:32])] == [*points]

        await eventually(has_them, f"{points} on the board of {tag}")

    for tag in (old, new):
        await put(client, admin, name=f"of-{tag}"[:32], sources=[f"tag:{tag}"])
        await until_ready(client, admin, f"of-{tag}"[:32])
    await shows(old, 25)
    quiz.tags[:] = [new]
    await import_quiz(endpoints(stack), quiz)
    await player.submit(quiz.quiz_id, [("q1", "a"), ("q2", "b")])
    await shows(new, 10)
    await shows(old, 25)
    void = {"userId": player.user_id, "actionId": first["actionId"], "reason": "a test"}
    await client.execute(VOID, {"input": void}, admin)
    await shows(old, 5)
    quiz.tags[:] = ["neither"]
    quiz.questions[1].correct_option = "b"
    await import_quiz(endpoints(stack), quiz)
    await client.execute(REJUDGE, {"id": quiz.quiz_id}, admin)
    await shows(new, 20)
    await shows(old, 5)


async def test_definition_is_refused_with_the_field_as_it_was_sent(
    client: GraphqlClient, admin: str, player: Player
) -> None:
    with pytest.raises(GraphqlError) as refused:
        await put(client, admin, name="Bad", timeZone="Mars/Olympus")
    assert refused.value.reason == "BOARD_DEFINITION_INVALID"
    assert "input.name: must be" in str(refused.value)
    assert "input.timeZone: has the time zone" in str(refused.value)
    with pytest.raises(GraphqlError) as denied:
        await put(client, player.access_token, name="mine")
    assert denied.value.reason == "PERMISSION_DENIED"
    with pytest.raises(GraphqlError) as unknown:
        await client.execute(ARCHIVE, {"name": unique("none-")[:32]}, admin)
    assert unknown.value.reason == "BOARD_NOT_FOUND"
    with pytest.raises(GraphqlError) as unread:
        await top(client, player, unique("none-")[:32])
    assert unread.value.reason == "BOARD_NOT_FOUND"


async def test_equal_definition_changes_nothing(client: GraphqlClient, admin: str) -> None:
    name = unique("same-")[:32]
    first = await put(client, admin, name=name, sources=["quiz:b", "quiz:a"])
    again = await put(client, admin, name=name, sources=["quiz:a", "quiz:b", "quiz:a"])
    assert (first["changed"], again["changed"]) == (True, False)
    assert again["board"]["sources"] == ["quiz:a", "quiz:b"]
    await until_ready(client, admin, name)
    await client.execute(ARCHIVE, {"name": name}, admin)
