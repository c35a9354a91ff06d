"""A caller that waits until its action is counted reads its own write, at once and on every board."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, cast

import pytest
from topten.quiz.v1 import quiz_pb2

from services.cli.system.client import GraphqlClient, GraphqlError
from services.runtime.clock import utc_now
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import Player, endpoints, register
from tests.servers import RunningStack, unique

SUBMIT = """mutation ($input: QuizActionInput!) {
  submitQuizAction(input: $input) { duplicate pointsAwarded total standings { board rank score } }
}"""
READ = """query ($board: BoardInput!, $ids: [ID!]!) {
  ranks(board: $board, userIds: $ids) { entries { rank score } }
}"""
RIGHT, HALF, WRONG = [("q1", "a"), ("q2", "a")], [("q1", "a")], [("q1", "b")]


@pytest.fixture
async def quiz_id(stack: RunningStack) -> str:
    made = unique("counted-")
    await import_quiz(endpoints(stack), quiz_definition(made, counting=quiz_pb2.COUNTING_SUM))
    return made


def action(
    quiz_id: str, answers: list[tuple[str, str]], boards: list[dict[str, Any]], **changes: Any
) -> dict[str, Any]:
    return {
        "quizId": quiz_id,
        "actionId": str(uuid.uuid4()),
        "answers": [{"questionId": question, "selectedOption": option} for question, option in answers],
        "timestamp": utc_now().isoformat(timespec="milliseconds"),
        "wait": "COUNTED",
        "boards": boards,
    } | changes


async def submit(player: Player, sent: dict[str, Any]) -> dict[str, Any]:
    data = await player.client.execute(SUBMIT, {"input": sent}, player.access_token)
    return cast("dict[str, Any]", data["submitQuizAction"])


async def test_counted_action_is_on_every_board_when_its_response_arrives(
    stack: RunningStack, client: GraphqlClient, quiz_id: str
) -> None:
    """Of players who play at the same time; what the response says is what any other read says right after it."""
    quiz, country = {"kind": "QUIZ", "quizId": quiz_id}, {"kind": "COUNTRY", "country": "VN"}
    boards: list[dict[str, Any]] = [quiz, {"kind": "ALL"}, {"kind": "WEEKLY"}, country]

    async def play(player: Player) -> None:
        total = 0
        for answers, points in ((RIGHT, 20), (WRONG, 0), (HALF, 10), (RIGHT, 20)):
            result = await submit(player, action(quiz_id, answers, boards))
            total += points
            assert (result["pointsAwarded"], result["total"]) == (points, total)
            assert [each["board"] for each in result["standings"]] == [f"quiz:{quiz_id}", "all", "weekly", "country:VN"]
            assert [each["score"] for each in result["standings"]] == [total] * len(boards)
            data = await client.execute(READ, {"board": quiz, "ids": [player.user_id]}, player.access_token)
            assert data["ranks"]["entries"][0]["score"] == total
            assert 1 <= result["standings"][0]["rank"] <= len(players)

    players = [await register(client) for _ in range(5)]
    await asyncio.gather(*map(play, players))


async def test_repeated_action_waits_for_its_count_too(stack: RunningStack, player: Player, quiz_id: str) -> None:
    """Also if nobody waited the first time, and if copies arrive together. It counts once."""
    boards = [{"kind": "QUIZ", "quizId": quiz_id}]
    sent = action(quiz_id, RIGHT, boards)
    first = await submit(player, sent | {"wait": "RECORDED"})
    assert (first["total"], first["standings"]) == (None, None)
    expected = {"total": 20, "standings": [{"board": f"quiz:{quiz_id}", "rank": 1, "score": 20}]}
    for result in await asyncio.gather(*(submit(player, sent) for _ in range(5))):
        assert result == {"duplicate": True, "pointsAwarded": 20, **expected}
    new = action(quiz_id, WRONG, [])
    results = await asyncio.gather(*(submit(player, new) for _ in range(5)))
    assert [(each["total"], each["standings"]) for each in results] == [(20, [])] * 5


async def test_action_that_names_an_unknown_board_is_not_recorded(
    stack: RunningStack, player: Player, quiz_id: str
) -> None:
    sent = action(quiz_id, RIGHT, [{"kind": "ALL"}, {"kind": "CUSTOM", "name": "nowhere"}])
    with pytest.raises(GraphqlError) as refused:
        await submit(player, sent)
    assert refused.value.reason == "BOARD_NOT_FOUND"
    result = await submit(player, sent | {"boards": [{"kind": "ALL"}]})
    assert result == {
        "duplicate": False,
        "pointsAwarded": 20,
        "total": 20,
        "standings": [{"board": "all", "rank": result["standings"][0]["rank"], "score": 20}],
    }
    with pytest.raises(GraphqlError) as refused:
        await submit(player, action(quiz_id, RIGHT, [{"kind": "QUIZ", "quizId": f"q{n}"} for n in range(11)]))
    assert refused.value.reason == "INVALID_ARGUMENT"
    assert "input.boards" in str(refused.value)
