"""The messages of SubmitAction and SubmitActionGroup: request → action, submission → response."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Final

import protovalidate
from topten.quiz.v1 import quiz_service_pb2 as messages
from topten.score.v1.confirmation_pb2 import COUNTED, BoardStanding

from services.quiz.questions.answers import AnswerError, answers_of
from services.quiz.relay import RelayedKind
from services.quiz.submissions.action import Action, mismatch
from services.quiz.submissions.submission import Submission
from services.runtime.auth.access import PLAYER
from services.runtime.auth.claims import Claims
from services.runtime.errors import ServiceError, invalid, to_rpc_status
from services.runtime.grpc import requests
from services.runtime.int32 import int32


def action_of(request: messages.SubmitActionRequest, player: Claims, *, abandoned_at: float = float("inf")) -> Action:
    """Return the action that a player states, of a request for which nobody waits after `abandoned_at`.

    Raises INVALID_ARGUMENT for an answer without a form, or with several.
    """
    try:
        answers = answers_of(request.answers)
    except AnswerError as error:
        raise mismatch(error) from None
    return Action(
        user_id=player.user_id,
        country=player.country,
        action_id=request.action_id,
        quiz_id=request.quiz_id,
        answers=answers,
        client_time=request.timestamp.ToDatetime(UTC),
        client=request.client,
        abandoned_at=abandoned_at,
        quiz_version=request.quiz_version,
        attempt_id=request.attempt_id,
    )


def response_of(
    submission: Submission,
    *,
    duplicate: bool,
    total: int | None = None,
    standings: Sequence[BoardStanding] = (),
) -> messages.SubmitActionResponse:
    """Return the response for a recorded action, with its effect on score and boards if that is known."""
    return messages.SubmitActionResponse(
        action_id=submission.action_id,
        duplicate=duplicate,
        points_awarded=submission.marks.points,
        score_delta=int32(submission.delta),
        correct_answers=submission.marks.correct,
        total_questions=submission.marks.questions,
        attempt=submission.tally.used,
        total=total,
        standings=standings,
        outcomes=submission.outcomes,
        quiz_version=submission.version,
    )


def _read(
    relayed: messages.RelayedAction, player: Claims, validator: protovalidate.Validator, abandoned_at: float
) -> Action:
    requests.check(relayed.action, validator)
    if relayed.action.wait == COUNTED:
        message = "An action of a group cannot wait until it is counted. Submit it by a call of its own."
        raise invalid("wait", message, message)
    return action_of(relayed.action, player, abandoned_at=abandoned_at)


def _recorded(outcome: tuple[Submission, bool]) -> messages.RelayedResult:
    submission, duplicate = outcome
    return messages.RelayedResult(response=response_of(submission, duplicate=duplicate))


def _refused(refusal: ServiceError) -> messages.RelayedResult:
    return messages.RelayedResult(error=to_rpc_status(refusal).SerializeToString())


RELAYED_SUBMISSIONS: Final = RelayedKind("/topten.quiz.v1.QuizService/SubmitAction", PLAYER, _read, _recorded, _refused)
