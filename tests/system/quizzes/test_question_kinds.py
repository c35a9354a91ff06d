"""Questions of every kind over GraphQL: the same answers as gRPC, judged by the version that the player saw."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, cast

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from topten.quiz.v1 import quiz_pb2, quiz_service_pb2
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub

from services.cli.system.client import GraphqlClient, GraphqlError
from services.runtime.clock import utc_now
from services.runtime.grpc.client import call
from tests.deadline import deadline_seconds
from tests.factories import every_kind, quiz_definition
from tests.imports import import_quiz
from tests.players import Player, endpoints, register
from tests.servers import RunningStack, unique

if TYPE_CHECKING:
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub

QUIZ = """query ($id: ID!) {
  quiz(id: $id) {
    version feedback attemptsUsed scoring { preset penaltyPercent streakPercent timeBonusPercent timeLimitSeconds }
    questions { id kind options { id } targets { id text } media { url alt } }
  }
}"""
RESULT = """{
  quizId quizVersion duplicate pointsAwarded correctAnswers totalQuestions message outcomes {
    questionId verdict points explanation
    correct { questionId selectedOption selectedOptions text matches { option target } }
    selected { questionId selectedOption selectedOptions text matches { option target } }
  } questions { questionId correct selected explanation }
}"""
SUBMIT = "mutation ($input: QuizActionInput!) { submitQuizAction(input: $input) " + RESULT + " }"
REVIEW = "query ($id: ID!) { reviewAction(actionId: $id) " + RESULT + " }"
# Right, wrong, partly right and missing answers, in every form.
ANSWERS: list[dict[str, Any]] = [
    {"questionId": "single", "selectedOption": "a"},
    {"questionId": "multiple", "selectedOptions": ["a", "b"]},
    {"questionId": "weighted", "selectedOptions": ["a", "b"]},
    {"questionId": "numeric", "text": "3,142"},
    {"questionId": "ordering", "selectedOptions": ["b", "a", "c", "d"]},
    {"questionId": "matching", "matches": [{"option": "a", "target": "w"}, {"option": "b", "target": "z"}]},
]
VERDICTS = ["RIGHT", "WRONG", "PARTLY_RIGHT", "RIGHT", "UNANSWERED", "PARTLY_RIGHT", "PARTLY_RIGHT"]


async def submit(player: Player, quiz_id: str, answers: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Submit answers over GraphQL; raises GraphqlError for a refusal."""
    action = {"quizId": quiz_id, "actionId": str(uuid.uuid4()), "answers": answers, "timestamp": utc_now().isoformat()}
    data = await player.client.execute(SUBMIT, {"input": action | more}, player.access_token)
    result: dict[str, Any] = data["submitQuizAction"]
    return result


async def submit_by_rpc(stack: RunningStack, player: Player, quiz_id: str) -> list[dict[str, Any]]:
    """Submit ANSWERS over gRPC and return the outcomes as GraphQL spells them."""
    request = quiz_service_pb2.SubmitActionRequest(quiz_id=quiz_id, action_id=str(uuid.uuid4()))
    request.answers.extend(ParseDict(answer, quiz_pb2.Answer()) for answer in ANSWERS)
    request.timestamp.FromDatetime(utc_now())
    async with endpoints(stack).channel("quiz") as channel:
        stub = cast("QuizServiceAsyncStub", QuizServiceStub(channel))
        response = await call(stub.SubmitAction, request, token=player.access_token, timeout=deadline_seconds())
    outcomes = []
    for outcome in response.outcomes:
        found = MessageToDict(outcome, always_print_fields_with_no_presence=True)
        found["verdict"] = found["verdict"].removeprefix("VERDICT_")
        for name in ("correct", "selected"):
            answer = found.get(name)
            found[name] = answer and {form: value or None for form, value in answer.items()}
        outcomes.append(found)
    return outcomes


async def test_every_kind_has_the_same_outcomes_over_graphql_and_grpc(
    stack: RunningStack, client: GraphqlClient, player: Player
) -> None:
    definition = every_kind(unique("kinds-"))
    definition.scoring.preset = "negative"
    await import_quiz(endpoints(stack), definition)

    quiz = (await client.execute(QUIZ, {"id": definition.quiz_id}, player.access_token))["quiz"]
    kinds = [question["kind"] for question in quiz["questions"]]
    assert kinds == [
        "SINGLE_CHOICE", "MULTIPLE_CHOICE", "MULTIPLE_CHOICE", "NUMERIC", "SHORT_TEXT", "ORDERING", "MATCHING"
    ]  # fmt: skip
    assert (quiz["version"], quiz["feedback"]) == (1, "ANSWERS")
    assert quiz["scoring"] == {
        "preset": "negative", "penaltyPercent": 25, "streakPercent": 0, "timeBonusPercent": 0, "timeLimitSeconds": 0,
    }  # fmt: skip
    assert quiz["questions"][-1]["targets"][0] == {"id": "w", "text": "Target w"}
    assert quiz["questions"][0]["media"] is None

    action_id = str(uuid.uuid4())
    result = await submit(player, definition.quiz_id, ANSWERS, actionId=action_id, quizVersion=1)
    assert [outcome["verdict"] for outcome in result["outcomes"]] == VERDICTS
    assert result["outcomes"][1]["points"] == -3
    assert result["outcomes"][0]["explanation"] == "Because."
    single, multiple = result["questions"][:2]
    assert single == {"questionId": "single", "correct": "a", "selected": "a", "explanation": "Because."}
    assert multiple["selected"] == "a,b"
    assert [each["selected"] is None for each in result["questions"]] == [each == "UNANSWERED" for each in VERDICTS]
    assert (result["quizId"], result["quizVersion"]) == (definition.quiz_id, 1)
    other = await register(client)
    assert await submit_by_rpc(stack, other, definition.quiz_id) == result["outcomes"]

    review = (await client.execute(REVIEW, {"id": action_id}, player.access_token))["reviewAction"]
    assert review == result | {"duplicate": True}
    with pytest.raises(GraphqlError) as error:
        await client.execute(REVIEW, {"id": action_id}, other.access_token)
    assert error.value.reason == "ACTION_NOT_FOUND"


@pytest.mark.parametrize(
    ("answer", "field"),
    [
        ({"questionId": "multiple", "selectedOptions": ["a", "a"]}, "input.answers[0].selectedOptions: "),
        ({"questionId": "ordering", "selectedOptions": ["a"]}, "input.answers[0].selectedOptions: "),
        ({"questionId": "numeric", "text": "three"}, "input.answers[0].text: "),
        ({"questionId": "matching", "matches": [{"option": "a", "target": "q"}]}, "input.answers[0].matches: "),
        ({"questionId": "single", "selectedOption": "a", "text": "b"}, "input.answers[0].text: "),
        ({"questionId": "single"}, "input.answers[0]: "),
    ],
    ids=lambda value: value["questionId"] if isinstance(value, dict) else "",
)
async def test_an_answer_in_a_wrong_form_is_refused_by_its_field(
    stack: RunningStack, player: Player, answer: dict[str, Any], field: str
) -> None:
    await import_quiz(endpoints(stack), every_kind("kinds-refused"))
    with pytest.raises(GraphqlError) as error:
        await submit(player, "kinds-refused", [answer])
    assert error.value.reason == "INVALID_ARGUMENT"
    assert str(error.value).startswith(field)


async def test_a_reimport_after_loading_is_judged_as_seen_and_an_unknown_version_uses_no_attempt(
    stack: RunningStack, client: GraphqlClient, player: Player
) -> None:
    definition = quiz_definition(unique("versions-"), max_attempts=1)
    seen = await import_quiz(endpoints(stack), definition)
    for entry in definition.questions:
        entry.correct_option = "b"
    await import_quiz(endpoints(stack), definition)
    answers = [{"questionId": name, "selectedOption": "a"} for name in ("q1", "q2")]

    with pytest.raises(GraphqlError) as error:
        await submit(player, definition.quiz_id, answers, quizVersion=99)
    assert error.value.reason == "QUIZ_CHANGED"
    quiz = (await client.execute(QUIZ, {"id": definition.quiz_id}, player.access_token))["quiz"]
    assert (quiz["version"], quiz["attemptsUsed"]) == (2, 0)

    result = await submit(player, definition.quiz_id, answers, quizVersion=seen)
    assert (result["pointsAwarded"], result["quizVersion"]) == (20, seen)
    assert result["outcomes"] == []
