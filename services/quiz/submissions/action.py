"""An action as its client states it, and the rules that refuse it before it is recorded. No driver, no clock."""

from __future__ import annotations

import hmac
import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from topten.identity.v1 import identity_pb2
from topten.quiz.v1 import quiz_pb2

from services.quiz.action_types.action_type import ActionType
from services.quiz.action_types.rule import Happened, RuleError, points_of
from services.quiz.attempts.attempt import Attempt
from services.quiz.config import Window
from services.quiz.questions.answers import Answer, AnswerError
from services.quiz.quizzes.limits import Limits
from services.quiz.quizzes.quiz import Quiz
from services.quiz.quizzes.scoring import Marks, Tally, mark
from services.quiz.quizzes.terms import Terms, counted_tags, subject_of, terms_of
from services.quiz.submissions.submission import Submission, payload_digest, report_digest
from services.runtime.clock import milliseconds_of
from services.runtime.errors import Reason, ServiceError, invalid
from services.runtime.telemetry import tracing

_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Report:
    """The report of an action that is not an answer to a quiz.

    `metadata` is a JSON object. `actor` is the service that submits it for the player; empty if the player does.
    """

    action_type_id: str
    happened: Happened
    metadata: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """An action as the client states it, at a quiz or reported, and its player by their token or by who submits it.

    `quiz_version` is the version that the player saw, 0 for the current one. `attempt_id` is the attempt that is handed in,
    which has its own version; with `is_time_up` the server hands it in. `room_quiz` is the quiz as a room had it, which was
    opened while the quiz was open and keeps its own time. `client_time` of a report and of the server may be None. The
    country is of the token, and unknown if another submits it. `trace` is the traceparent of the player's request. After
    `abandoned_at`, in monotonic seconds, nobody waits for it.
    """

    user_id: str
    country: str
    action_id: str
    quiz_id: str
    answers: tuple[Answer, ...]
    client_time: datetime | None
    client: quiz_pb2.Client
    report: Report | None = None
    quiz_version: int = 0
    attempt_id: str = ""
    is_time_up: bool = False
    room_quiz: Quiz | None = None
    abandoned_at: float = float("inf")
    trace: str = field(default_factory=tracing.cause)


Outcome = tuple[Submission, bool] | Exception
"""The record of an action and whether it existed before, or why there is none."""


@dataclass(slots=True, eq=False)
class PendingAction:
    """An action of a group and what is known of it so far. `terms` and `marks` are set unless it was refused."""

    action: Action
    received_at: datetime
    tally_key: tuple[str, str] = field(init=False)
    """The player and what the action is about."""
    digest: str = field(init=False)
    country: str = field(init=False)
    terms: Terms = field(init=False)
    marks: Marks = field(init=False)
    delivered_at: datetime | None = None
    attempt: Attempt | None = None
    elapsed_ms: int | None = None
    tries: int = 0
    outcome: Outcome | None = None

    def __post_init__(self) -> None:
        report = self.action.report
        self.tally_key = (
            self.action.user_id,
            subject_of(self.action.quiz_id, report.action_type_id if report else ""),
        )
        if report is None:
            self.digest = payload_digest(self.action.quiz_id, self.action.answers)
        else:
            self.digest = report_digest(report.action_type_id, report.happened)
        self.country = self.action.country

    @property
    def record_key(self) -> tuple[str, str]:
        """The player and the action id, under which the action is recorded once."""
        return self.action.user_id, self.action.action_id

    def settle_as(self, recorded: Submission) -> None:
        """Settle a repeated action by the record that its action id has."""
        # A record that was restored from its event does not know the payload.
        if not recorded.payload_digest or hmac.compare_digest(recorded.payload_digest, self.digest):
            self.outcome = recorded, True
        elif self.action.action_id == self.action.attempt_id:
            self.outcome = attempt_closed()
        else:
            self.outcome = ServiceError(
                Reason.ACTION_ID_CONFLICT,
                "This action ID was already used with another quiz or other answers. Use a new one."
                if self.action.report is None
                else "This action ID was already used for another action of the player. Use a new one.",
            )

    def limit_reached(self, before: Tally) -> ServiceError | None:
        """Return the refusal of an action that exceeds a limit on top of a tally; None if it does not."""
        at = milliseconds_of(self.received_at)
        if self.action.report is not None:
            exceeded = self.terms.limits.exceeded(before, at, self.marks.points)
            return ServiceError(Reason.LIMIT_REACHED, exceeded) if exceeded else None
        if self.attempt is not None:
            if before.used >= self.attempt.number:
                return attempt_closed()
            if self.attempt.is_timed:  # it was counted when it was started
                return None
        return attempts_refused(self.terms.limits, before, at)


def attempt_closed() -> ServiceError:
    """Return the refusal of an attempt that is not open."""
    message = "The attempt is not open: it was handed in, by you or by the server when its time was up."
    return ServiceError(Reason.ATTEMPT_CLOSED, message)


def attempts_refused(limits: Limits, before: Tally, at: int) -> ServiceError | None:
    """Return the refusal of one more attempt at a quiz, at a time in milliseconds; None if it may begin."""
    allowed = limits.max_actions
    if allowed and before.used >= allowed:
        message = f"All attempts at this quiz are used: {allowed} allowed."
        return ServiceError(Reason.ATTEMPTS_EXHAUSTED, message, max_attempts=allowed)
    wait = timedelta(milliseconds=limits.cooled_down_at(before) - at)
    if wait > timedelta():
        message = f"The next attempt at this quiz may begin in {math.ceil(wait.total_seconds())} s."
        return ServiceError(Reason.ATTEMPT_TOO_SOON, message, retry_after=wait)
    return None


def judge_submission(each: PendingAction, quiz: Quiz, seen: Quiz, window: Window) -> None:
    """Give a submission its terms, by the current quiz, and its marks and tags, by the version that the player saw.

    Raises QUIZ_CLOSED, ATTEMPT_REQUIRED, ATTEMPT_CLOSED, TIMESTAMP_OUT_OF_WINDOW, INVALID_ARGUMENT.
    """
    _require_open(each, quiz)
    attempt = each.attempt
    if attempt is not None:  # the server alone measures its time
        elapsed: int | None = attempt.elapsed_ms(each.received_at)
        each.elapsed_ms = elapsed
    else:
        _check_time(each, window)
        elapsed = None if each.delivered_at is None else (each.received_at - each.delivered_at) // _MILLISECOND
    each.terms = terms_of(quiz)._replace(version=seen.version, tags=counted_tags(seen.view.tags))
    each.marks = _marked(seen, each.action, elapsed)


def _require_open(each: PendingAction, quiz: Quiz) -> None:
    """Raise QUIZ_CLOSED, ATTEMPT_REQUIRED or ATTEMPT_CLOSED unless a submission is in time."""
    if each.action.room_quiz is not None:
        return  # the quiz was open when the room was, which has its own time
    attempt = each.attempt
    if attempt is not None and attempt.is_timed:
        if not (each.action.is_time_up or attempt.accepts(each.received_at)):
            raise attempt_closed()
    elif not quiz.is_open(each.received_at):
        raise ServiceError(Reason.QUIZ_CLOSED, "The quiz is not open.")
    elif attempt is None and quiz.timing is not None:
        message = "The quiz is timed. Start an attempt and hand that in; nothing was recorded."
        raise ServiceError(Reason.ATTEMPT_REQUIRED, message)


def judge_report(each: PendingAction, report: Report, action_type: ActionType, window: Window) -> None:
    """Give a reported action its terms and points; `window` holds for a type without its own.

    Raises ACTION_TYPE_CLOSED, PERMISSION_DENIED, TIMESTAMP_OUT_OF_WINDOW, INVALID_ARGUMENT.
    """
    if not action_type.is_open:
        raise ServiceError(Reason.ACTION_TYPE_CLOSED, "The action type is archived.")
    if report.actor and not action_type.admits_services:
        raise ServiceError(Reason.PERMISSION_DENIED, "Only players submit actions of this type.")
    if not report.actor and not action_type.admits_players:
        raise ServiceError(Reason.PERMISSION_DENIED, "Players do not submit actions of this type.")
    _check_time(each, action_type.window or window)
    try:
        points = points_of(action_type.rule, report.happened)
    except RuleError as error:
        raise invalid(error.field, str(error)) from None
    each.terms, each.marks = action_type.terms, Marks(points, 0, 0)


def _check_time(each: PendingAction, window: Window) -> None:
    received_at, client_time = each.received_at, each.action.client_time
    if client_time is not None and not received_at - window.back <= client_time <= received_at + window.ahead:
        raise ServiceError(
            Reason.TIMESTAMP_OUT_OF_WINDOW,
            "The action's timestamp is too far from the server's time. Set the clock of the device.",
            server_time=received_at.isoformat(timespec="milliseconds"),
        )


def _marked(quiz: Quiz, action: Action, elapsed_ms: int | None) -> Marks:
    """Return the marks of the answers. Raises INVALID_ARGUMENT if one does not match the quiz."""
    try:
        return mark(quiz, action.answers, elapsed_ms)
    except AnswerError as error:
        raise mismatch(error) from None


def mismatch(error: AnswerError) -> ServiceError:
    """Return the refusal of an answer that does not match the quiz."""
    field = f"answers[{error.index}]{'.' if error.form else ''}{error.form}"
    message = f"Answer {error.index + 1} does not match the quiz: it {error}."
    return invalid(field, str(error), message)


def blocked(block: identity_pb2.Block, *, is_caller: bool) -> ServiceError:
    """Return the refusal of a blocked player, who may be the caller."""
    metadata = {"block_reason": block.reason}
    if block.HasField("expires_at"):
        metadata["expires_at"] = block.expires_at.ToJsonString()
    message = "You are blocked." if is_caller else "The player is blocked."
    return ServiceError(Reason.PLAYER_BLOCKED, message, **metadata)  # type: ignore[arg-type]  # all are text
