"""Quizzes and attempts over gRPC and GraphQL: the same refusals for the same reason, and the same facts."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from topten.quiz.v1 import quiz_pb2

from services.cli.identity.accounts import grant_role
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import PASSWORD, endpoints, register
from tests.servers import RunningStack, unique
from tests.system.quizzes.both_ways import OK, BothWays, Refused, both_ways, selection

HOUR: Final = 3600
UNKNOWN: Final = "no-such-quiz"
RIGHT: Final = [{"questionId": "q1", "selectedOption": "a"}]
WRONG: Final = [{"questionId": "q1", "selectedOption": "b"}]
GUEST: Final = 'mutation { continueAsGuest(nickname: "Gus") { accessToken } }'
BLOCK: Final = "mutation ($input: BlockUserInput!) { blockUser(input: $input) { success } }"
ATTEMPT: Final = selection("Attempt")
OUTCOMES: Final = f"outcomes {selection('QuestionOutcome')}"
RESULT: Final = f"actionId quizVersion duplicate pointsAwarded correctAnswers totalQuestions {OUTCOMES}"
START: Final = "mutation ($quizId: ID!) { startAttempt(quizId: $quizId) " + selection("StartedAttempt", "quiz") + " }"
SAVE: Final = f"""mutation ($attemptId: ID!, $answers: [AnswerInput!]!) {{
  saveAnswers(attemptId: $attemptId, answers: $answers) {ATTEMPT}
}}"""
SAVE_ONE: Final = f"""mutation ($attemptId: ID!, $answer: AnswerInput!) {{
  saveAnswer(attemptId: $attemptId, answer: $answer) {ATTEMPT}
}}"""
SUBMIT: Final = f"mutation ($input: QuizActionInput!) {{ submitQuizAction(input: $input) {{ {RESULT} }} }}"
REVIEW: Final = f"query ($actionId: ID!) {{ reviewAction(actionId: $actionId) {{ {RESULT} }} }}"
STANDING: Final = f"query ($quizId: ID!) {{ quiz(id: $quizId) {{ attempts {selection('Attempts')} }} }}"
REJUDGE: Final = """mutation ($quizId: ID!, $dryRun: Boolean!, $reason: String!) {
  rejudgeQuiz(quizId: $quizId, dryRun: $dryRun, reason: $reason) {
    version actions changed players { userId before after placeBefore placeAfter }
  }
}"""
EXTRA: Final = """mutation ($userId: ID!, $quizId: ID, $extraTime: ExtraTime!, $reason: String!) {
  setPlayerExtraTime(userId: $userId, quizId: $quizId, extraTime: $extraTime, reason: $reason)
}"""


@dataclass
class Scene:
    """Quizzes by what is special about them, attempts of Ada, and the tokens of callers by name."""

    quizzes: dict[str, str]
    attempts: dict[str, str]
    tokens: dict[str, str]
    user_ids: dict[str, str]


def start(caller: str, quiz_id: str, reason: str) -> Refused:
    given = {"quizId": quiz_id}
    return Refused(caller, "attempt.StartAttempt", given, START, given, reason)


def save(caller: str, attempt_id: str, answers: list[Any], reason: str) -> Iterator[Refused]:
    """Refuse answers that are saved together, and a single one that is saved alone."""
    given = {"attemptId": attempt_id, "answers": answers}
    yield Refused(caller, "attempt.SaveAnswers", given, SAVE, given, reason)
    if len(answers) == 1:
        alone = {"attemptId": attempt_id, "answer": answers[0]}
        yield Refused(caller, "attempt.SaveAnswers", given, SAVE_ONE, alone, reason)


def submit(caller: str, quiz_id: str, reason: str, answers: Any = None, **changes: Any) -> Refused:
    given = {
        "quizId": quiz_id,
        "actionId": str(uuid.uuid4()),
        "answers": RIGHT if answers is None else answers,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
    } | changes
    return Refused(caller, "quiz.SubmitAction", given, SUBMIT, {"input": given}, reason)


def rejudge(caller: str, quiz_id: str, reason: str, why: str = "a wrong key") -> Refused:
    given = {"quizId": quiz_id, "dryRun": True, "reason": why}
    return Refused(caller, "quiz.RejudgeQuiz", given, REJUDGE, given, reason)


def extra(caller: str, user_id: str, quiz_id: str, reason: str, why: str = "a document") -> Refused:
    given = {"userId": user_id, "quizId": quiz_id, "reason": why}
    fields, variables = given | {"extraTime": "EXTRA_TIME_DOUBLE"}, given | {"extraTime": "DOUBLE"}
    return Refused(caller, "attempt.SetExtraTime", fields, EXTRA, variables, reason)


def refusals(scene: Scene) -> Iterator[Refused]:
    quizzes, attempts = scene.quizzes, scene.attempts
    timed, handed_in, nobody = quizzes["timed"], attempts["handed in"], str(uuid.uuid4())
    for caller, quiz_id, reason in (
        ("ada", UNKNOWN, "QUIZ_NOT_FOUND"),
        ("ada", quizzes["closed"], "QUIZ_CLOSED"),
        ("ada", quizzes["not yet open"], "QUIZ_CLOSED"),
        ("ada", quizzes["used"], "ATTEMPTS_EXHAUSTED"),
        ("ada", quizzes["paced"], "ATTEMPT_TOO_SOON"),
        ("ada", "", "INVALID_ARGUMENT"),
        ("ada", "x" * 65, "INVALID_ARGUMENT"),
        ("blocked", timed, "PLAYER_BLOCKED"),
        ("guest", timed, "PERMISSION_DENIED"),
        ("nobody", timed, "UNAUTHENTICATED"),
    ):
        yield start(caller, quiz_id, reason)
    two_forms = {"questionId": "q1", "selectedOption": "a", "text": "a"}
    for caller, attempt_id, answers, reason in (
        ("ada", nobody, RIGHT, "ATTEMPT_CLOSED"),
        ("ada", handed_in, RIGHT, "ATTEMPT_CLOSED"),
        ("ben", attempts["open"], RIGHT, "ATTEMPT_CLOSED"),
        ("ada", "not-an-id", RIGHT, "INVALID_ARGUMENT"),
        ("ada", attempts["open"], [{"questionId": "q9", "selectedOption": "a"}], "INVALID_ARGUMENT"),
        ("ada", attempts["open"], [{"questionId": "q1", "selectedOption": "z"}], "INVALID_ARGUMENT"),
        ("ada", attempts["open"], [{"questionId": "q1", "text": "a"}], "INVALID_ARGUMENT"),
        ("ada", attempts["open"], [two_forms], "INVALID_ARGUMENT"),
        ("ada", attempts["open"], [*RIGHT, *WRONG], "INVALID_ARGUMENT"),
        ("guest", attempts["open"], RIGHT, "PERMISSION_DENIED"),
        ("nobody", attempts["open"], RIGHT, "UNAUTHENTICATED"),
    ):
        yield from save(caller, attempt_id, answers, reason)
    yield submit("ada", timed, "ATTEMPT_REQUIRED")
    yield submit("ada", quizzes["timed once"], "ATTEMPT_CLOSED", attemptId=handed_in)
    yield submit("ben", timed, "ATTEMPT_CLOSED", attemptId=attempts["open"])
    yield submit("ada", quizzes["used"], "ATTEMPT_CLOSED", attemptId=attempts["open"])
    yield submit("ada", quizzes["used"], "ATTEMPTS_EXHAUSTED")
    yield submit("ada", quizzes["paced"], "ATTEMPT_TOO_SOON")
    yield submit("ada", quizzes["closed"], "QUIZ_CLOSED")
    yield submit("ada", UNKNOWN, "QUIZ_NOT_FOUND")
    yield submit("ada", quizzes["used"], "ACTION_ID_CONFLICT", WRONG, actionId=attempts["used"])
    yield submit("ada", quizzes["plain"], "TIMESTAMP_OUT_OF_WINDOW", timestamp="2001-01-01T00:00:00.000Z")
    yield submit("ada", quizzes["plain"], "QUIZ_CHANGED", quizVersion=99)
    yield submit("ada", quizzes["plain"], "INVALID_ARGUMENT", quizVersion=-1)
    yield submit("ada", quizzes["plain"], "INVALID_ARGUMENT", actionId="not-an-id")
    yield submit("ada", quizzes["plain"], "INVALID_ARGUMENT", [*RIGHT, *WRONG])
    yield submit("ada", quizzes["plain"], "INVALID_ARGUMENT", [{"questionId": "q9", "selectedOption": "a"}])
    yield submit("ada", quizzes["plain"], "INVALID_ARGUMENT", [{"questionId": "q1", "selectedOption": "z"}])
    yield submit("blocked", quizzes["plain"], "PLAYER_BLOCKED")
    yield submit("guest", quizzes["plain"], "PERMISSION_DENIED")
    yield submit("nobody", quizzes["plain"], "UNAUTHENTICATED")
    for caller, action_id, reason in (
        ("ada", nobody, "ACTION_NOT_FOUND"),
        ("ben", attempts["used"], "ACTION_NOT_FOUND"),
        ("ada", "not-an-id", "INVALID_ARGUMENT"),
        ("guest", attempts["used"], "PERMISSION_DENIED"),
        ("nobody", attempts["used"], "UNAUTHENTICATED"),
    ):
        given = {"actionId": action_id}
        yield Refused(caller, "quiz.ReviewAction", given, REVIEW, given, reason)
    yield Refused("ada", "attempt.GetAttempts", {"quizId": UNKNOWN}, STANDING, {"quizId": UNKNOWN}, "QUIZ_NOT_FOUND")
    yield rejudge("admin", UNKNOWN, "QUIZ_NOT_FOUND")
    yield rejudge("admin", quizzes["used"], "INVALID_ARGUMENT", "x" * 501)
    yield rejudge("author", quizzes["used"], "PERMISSION_DENIED")
    yield rejudge("ada", quizzes["used"], "PERMISSION_DENIED")
    yield rejudge("nobody", quizzes["used"], "UNAUTHENTICATED")
    yield extra("admin", nobody, timed, "PLAYER_NOT_FOUND")
    yield extra("admin", scene.user_ids["ada"], UNKNOWN, "QUIZ_NOT_FOUND")
    yield extra("admin", scene.user_ids["ada"], timed, "INVALID_ARGUMENT", "")
    yield extra("author", scene.user_ids["ada"], timed, "PERMISSION_DENIED")
    yield extra("ada", scene.user_ids["ada"], timed, "PERMISSION_DENIED")


async def made(stack: RunningStack, name: str) -> str:
    """Import a quiz that is what its name says, and return its id."""
    definition = quiz_definition(unique("both-"), max_attempts=1 if name in ("used", "timed once") else 0)
    definition.feedback = quiz_pb2.FEEDBACK_ANSWERS
    if name.startswith("timed"):
        definition.timing.limit_seconds, definition.timing.grace_seconds = HOUR, 10
    if name == "paced":
        definition.attempts.cooldown_seconds = HOUR
    if name == "closed":
        definition.closes_at.FromDatetime(datetime.now(UTC) - timedelta(hours=1))
    if name == "not yet open":
        definition.opens_at.FromDatetime(datetime.now(UTC) + timedelta(hours=1))
    await import_quiz(endpoints(stack), definition)
    return definition.quiz_id


async def prepared(stack: RunningStack, both: BothWays) -> Scene:
    """Make the quizzes, the accounts, and what Ada has done before."""
    names = ("plain", "timed", "timed once", "used", "paced", "closed", "not yet open")
    quizzes = {name: await made(stack, name) for name in names}
    accounts = {name: await register(both.client) for name in ("ada", "ben", "blocked", "author", "admin")}
    for role in ("author", "admin"):
        await grant_role(endpoints(stack), accounts[role].username, role)
        accounts[role].access_token = await both.client.login(accounts[role].username, PASSWORD)
    tokens = {name: account.access_token for name, account in accounts.items()} | {"nobody": ""}
    tokens["guest"] = (await both.graphql(GUEST, "")).facts["accessToken"]
    ada = accounts["ada"]
    attempts = {name: str(uuid.uuid4()) for name in ("used", "paced")}
    for name, action_id in attempts.items():
        await ada.submit(quizzes[name], [("q1", "a")], action_id)
    for name, quiz in (("open", "timed"), ("handed in", "timed once")):
        attempts[name] = (await both.graphql(START, ada.access_token, {"quizId": quizzes[quiz]})).facts["id"]
    await ada.submit(quizzes["timed once"], [("q1", "a")], attempts["handed in"], attemptId=attempts["handed in"])
    block = {"input": {"userId": accounts["blocked"].user_id, "reason": "a test"}}
    assert (await both.graphql(BLOCK, tokens["admin"], block)).reason == OK
    return Scene(quizzes, attempts, tokens, {name: account.user_id for name, account in accounts.items()})


async def test_every_refusal_has_the_same_reason_over_grpc_and_graphql(stack: RunningStack) -> None:
    async with both_ways(stack) as both:
        scene = await prepared(stack, both)
        told, expected = await both.reasons(refusals(scene), scene.tokens)
        assert told == expected


async def test_an_attempt_and_a_dry_run_have_the_same_facts_over_grpc_and_graphql(stack: RunningStack) -> None:
    async with both_ways(stack) as both:
        ada, admin = await register(both.client), await register(both.client)
        await grant_role(endpoints(stack), admin.username, "admin")
        admin.access_token = await both.client.login(admin.username, PASSWORD)
        definition = quiz_definition(unique("both-"))
        definition.feedback = quiz_pb2.FEEDBACK_ANSWERS
        definition.timing.limit_seconds, definition.timing.grace_seconds = HOUR, 10
        definition.questions[0].explanation = "Because it is this."
        await import_quiz(endpoints(stack), definition)
        token, quiz = ada.access_token, {"quizId": definition.quiz_id}

        begun = (await both.grpc("attempt.StartAttempt", token, quiz)).facts
        resumed = (await both.graphql(START, token, quiz)).facts
        assert resumed == {**attempt_of(begun), "resumed": True}
        attempt_id = resumed["id"]
        saved = (await both.grpc("attempt.SaveAnswers", token, {"attemptId": attempt_id, "answers": RIGHT})).facts
        again = (await both.graphql(SAVE, token, {"attemptId": attempt_id, "answers": RIGHT})).facts
        alone = (await both.graphql(SAVE_ONE, token, {"attemptId": attempt_id, "answer": RIGHT[0]})).facts
        assert attempt_of(saved) == again == alone == attempt_of(begun) | {"answers": RIGHT}
        standing = (await both.grpc("attempt.GetAttempts", token, quiz)).facts
        shown = (await both.graphql(STANDING, token, quiz)).facts["attempts"]
        assert shown == {**standing, "open": attempt_of({"attempt": standing["open"]})}

        action = submit("ada", definition.quiz_id, OK, WRONG, actionId=attempt_id, attemptId=attempt_id)
        handed_in = (await both.grpc(action.method, token, action.fields)).facts
        repeated = (await both.graphql(SUBMIT, token, action.variables)).facts
        assert repeated.pop("duplicate")
        assert repeated == {key: handed_in[key] for key in repeated}
        assert handed_in["outcomes"][0]["explanation"] == "Because it is this."
        reviewed = (await both.grpc("quiz.ReviewAction", token, {"actionId": attempt_id})).facts["action"]
        review = (await both.graphql(REVIEW, token, {"actionId": attempt_id})).facts
        assert review == {key: reviewed[key] for key in review}

        definition.questions[0].correct_option = "b"
        await import_quiz(endpoints(stack), definition)
        dry = rejudge("admin", definition.quiz_id, OK)
        *steps, last = (await both.grpc(dry.method, admin.access_token, dry.fields)).facts
        would = (await both.graphql(REJUDGE, admin.access_token, dry.variables)).facts
        # JSON of protobuf has 64-bit numbers as text.
        players = [
            {key: told if key == "userId" else int(told) for key, told in player.items()}
            for step in (*steps, last)
            for player in step.get("players", [])
        ]
        assert would == {"version": 2, "actions": 1, "changed": 1, "players": players}
        assert [int(last[key]) for key in ("version", "actions", "changed")] == [2, 1, 1]
        assert players == [{"userId": ada.user_id, "after": 10, "placeBefore": 1, "placeAfter": 1}]


def attempt_of(told: dict[str, Any]) -> dict[str, Any]:
    """Return an attempt of a response with the names of `Attempt`."""
    attempt = dict(told["attempt"])
    named = {"id": attempt.pop("attemptId")}
    return attempt | named
