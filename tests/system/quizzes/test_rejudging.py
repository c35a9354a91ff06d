"""A quiz whose key was wrong: judged again, its players have on every board what the right key gives."""

from __future__ import annotations

from topten.quiz.v1 import quiz_pb2

from services.cli.quizzes.quiz_rejudge import rejudge_quiz
from services.cli.system.client import GraphqlClient
from tests.deadline import eventually
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import endpoints, register
from tests.servers import RunningStack, unique

HISTORY = "query { scoreHistory { edges { node { kind delta quizId reason } } } }"


async def test_boards_show_what_the_right_key_gives(stack: RunningStack, client: GraphqlClient) -> None:
    quiz_id = unique("rejudged-")
    definition = quiz_definition(quiz_id, points=10, counting=quiz_pb2.COUNTING_BEST)
    await import_quiz(endpoints(stack), definition)
    wrong, right = await register(client), await register(client)
    await wrong.submit(quiz_id, [("q1", "a"), ("q2", "a")])
    await right.submit(quiz_id, [("q1", "b"), ("q2", "a")])

    async def shown(expected: dict[str, int]) -> bool:
        top = await wrong.top({"kind": "QUIZ", "quizId": quiz_id}, 100)
        return {entry["userId"]: entry["score"] for entry in top} == expected

    await eventually(lambda: shown({wrong.user_id: 20, right.user_id: 10}), "both scores")
    definition.questions[0].correct_option = "b"
    await import_quiz(endpoints(stack), definition)
    would = await rejudge_quiz(endpoints(stack), quiz_id, "a wrong key", dry_run=True)
    assert (would.version, would.actions, would.changed, would.points) == (2, 2, 2, 0)
    assert await shown({wrong.user_id: 20, right.user_id: 10})
    did = await rejudge_quiz(endpoints(stack), quiz_id, "", dry_run=False)  # no reason is required
    assert (did.changed, did.points) == (2, 0)
    await eventually(lambda: shown({wrong.user_id: 10, right.user_id: 20}), "both scores by the right key")
    data = await client.execute(HISTORY, {}, right.access_token)
    changes = [edge["node"] for edge in data["scoreHistory"]["edges"]]
    expected = {"kind": "ACTION_REJUDGED", "delta": 10, "quizId": quiz_id, "reason": None}
    assert expected in changes
