"""Records of events that a restore lost while the events were on their way, or counted after it.

A backup that is put back may lack the record of an event that is still on the stream. The event would count beside the same
action sent again, and the attempts after it would be counted as if it had never been. Therefore an event of former data
counts only if it has a record: it gets one here, with the number and the points that follow from the attempts on record, or
it gives way to the record that its action id has in the meantime. The unique indexes decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog
import uuid_utils
from google.protobuf.message import DecodeError
from prometheus_client import Counter
from topten.action.v1.action_events_pb2 import ActionCompletedEvent, ActionCompletedPayload
from topten.quiz.v1 import quiz_events_pb2 as events
from topten.quiz.v1 import quiz_pb2

from services.quiz.amendments.amendment import Amendment, key_of
from services.quiz.amendments.moderation import without_action
from services.quiz.quizzes.scoring import Marks, Tally, tally, tally_of
from services.quiz.quizzes.terms import counted_tags, subject_of
from services.quiz.submissions.event_points import AtQuiz, delta_of, quiz_total_of
from services.quiz.submissions.recorder import CONFLICTS_EXCEEDED, MAX_CONFLICTS
from services.quiz.submissions.submission import Submission, TakenError, metadata_text
from services.runtime.errors import Reason, ServiceError
from services.runtime.int32 import int32
from services.runtime.outbox.publishing import UnpublishedEvent
from services.streams import ACTION_COMPLETED, ACTION_REJUDGED, ACTION_VOIDED, QUIZ_COMPLETED, SCORE_ADJUSTED

if TYPE_CHECKING:
    from services.quiz.quizzes.quiz_cache import QuizCache
    from services.quiz.submissions.store import SubmissionStore
    from services.runtime.outbox.publishing import Outbox

CORRECTED_BY: Final = "service:quiz"
CORRECTED_BECAUSE: Final = "A record was lost when a backup was put back, and its event had been counted."

Completed = events.QuizCompletedPayload | ActionCompletedPayload
Payload = Completed | events.ActionVoidedPayload | events.ActionRejudgedPayload | events.ScoreAdjustedPayload
_MESSAGES: Final[dict[str, Any]] = {
    QUIZ_COMPLETED: events.QuizCompletedEvent,
    ACTION_COMPLETED: ActionCompletedEvent,
    ACTION_VOIDED: events.ActionVoidedEvent,
    ACTION_REJUDGED: events.ActionRejudgedEvent,
    SCORE_ADJUSTED: events.ScoreAdjustedEvent,
}

restored_records = Counter(
    "topten_restored_records_total", "Events whose records a restore had lost, by what became of them", ["outcome"]
)
_log = structlog.get_logger("restoration")


class _SupersededError(Exception):
    """The event must not count."""


class _Published(NamedTuple):
    """An event of the stream, and whether the ledger has it."""

    kind: str
    event_id: str
    payload: Payload
    is_counted: bool

    @property
    def at(self) -> datetime:
        return self.payload.timestamp.ToDatetime(UTC)

    @property
    def quiz_id(self) -> str:
        payload = self.payload
        return payload.quiz_id if isinstance(payload, AtQuiz) else ""

    @property
    def action_type_id(self) -> str:
        payload = self.payload
        return (
            payload.action_type_id if isinstance(payload, ActionCompletedPayload | events.ActionVoidedPayload) else ""
        )

    @property
    def subject(self) -> str:
        return subject_of(self.quiz_id, self.action_type_id)

    @property
    def tags(self) -> tuple[str, ...]:
        return () if isinstance(self.payload, events.ScoreAdjustedPayload) else counted_tags(self.payload.tags)


class RecordRestoration:
    """Safe to repeat and to use from several instances. Raises UNAVAILABLE."""

    def __init__(
        self, store: SubmissionStore, cache: QuizCache, outbox: Outbox, *, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._cache = cache
        self._outbox = outbox
        self._now = now

    async def restore(self, published: Sequence[tuple[bytes, bool]]) -> list[bytes]:
        """Return for each event, given with whether it is counted, the event on record; empty if it must not count.

        Raises INVALID_ARGUMENT for bytes that are no event of this service.
        """
        parsed = [_published(data, is_counted=is_counted) for data, is_counted in published]
        recorded = await self._store.events([event.event_id for event in parsed])
        return [recorded.get(event.event_id) or await self._restore(event) for event in parsed]

    async def _restore(self, event: _Published) -> bytes:
        for _ in range(MAX_CONFLICTS):
            with suppress(TakenError):  # another record of the player was written first, perhaps this one
                if not await self._settle(event):
                    return b""
            if recorded := (await self._store.events([event.event_id])).get(event.event_id):
                return recorded
        raise ServiceError(Reason.UNAVAILABLE, CONFLICTS_EXCEEDED)

    async def _settle(self, event: _Published) -> bool:
        """Record the event and return True, or what takes it back and return False. Raises TakenError."""
        identity = self._store.identity
        try:
            record = await self._record(event)
        except _SupersededError as error:
            outcome = "superseded"
            if event.is_counted:
                outcome = "taken back"
                await self._correct(event, -delta_of(event.payload))
            restored_records.labels(outcome).inc()
            _log.warning("event without a record", event_id=event.event_id, outcome=outcome, reason=str(error))
            return False
        await self._store.restore(record, identity)
        restored_records.labels("recorded").inc()
        _log.warning("record restored", event_id=event.event_id, kind=event.kind)
        return True

    async def _record(self, event: _Published) -> Submission | Amendment:
        """Return the record of an event, made as if the event came now. Raises _SupersededError."""
        match event.payload:
            case events.QuizCompletedPayload() | ActionCompletedPayload() as payload:
                return await self._submission(event, payload)
            case events.ActionVoidedPayload() as payload:
                return await self._void(event, payload)
            case events.ActionRejudgedPayload() as payload:
                return await self._judgement(event, payload)
            case payload:
                return await self._adjustment(event, payload)

    async def _submission(self, event: _Published, payload: Completed) -> Submission:
        if await self._store.submission(payload.user_id, payload.action_id) is not None:
            raise _SupersededError("the action was sent again")
        before = await self._store.last_tally(payload.user_id, event.subject)
        if isinstance(payload, ActionCompletedPayload):
            marks = Marks(max(0, payload.score_delta), 0, 0)
            after = tally(quiz_pb2.COUNTING_SUM, before, marks.points)
        else:
            marks, after = await self._evaluated(payload, before)
        delta = await self._delta(event, before, after)
        return Submission(
            event_id=event.event_id,
            user_id=payload.user_id,
            action_id=payload.action_id,
            quiz_id=event.quiz_id,
            version=0,
            payload_digest="",
            answers=(),
            marks=marks,
            tally=replace(after, recent=before.recent),
            delta=delta,
            client_time=event.at,
            received_at=event.at,
            country=payload.country,
            action_type_id=event.action_type_id,
            metadata=_metadata(payload),
            actor=payload.actor if isinstance(payload, ActionCompletedPayload) else "",
            tags=event.tags,
            shows_metadata=isinstance(payload, ActionCompletedPayload) and payload.shows_metadata,
        )

    async def _evaluated(self, payload: events.QuizCompletedPayload, before: Tally) -> tuple[Marks, Tally]:
        """Return the marks of an attempt, and the tally after it by the quiz's rule."""
        try:
            quiz = await self._cache.quiz(payload.quiz_id)
        except ServiceError as error:
            if error.reason is not Reason.QUIZ_NOT_FOUND:
                raise
            counting = quiz_pb2.COUNTING_SUM  # the quiz is lost as well: what its event added is added
            payload.points_awarded = max(0, int32(delta_of(payload)))
        else:
            counting = quiz.counting
            if not payload.total_questions:
                payload.points_awarded = _points_of(payload, counting, before)
        marks = Marks(payload.points_awarded, payload.correct_answers, payload.total_questions)
        return marks, tally(counting, before, marks.points)

    async def _delta(self, event: _Published, before: Tally, after: Tally) -> int:
        """Return the change of the score, which is the one that is counted if the event is.

        What was counted too much or too little is corrected first; raises TakenError after that.
        """
        due = after.counted - before.counted
        counted = delta_of(event.payload) if event.is_counted else due
        if due != counted and await self._correct(event, due - counted, after.counted):
            raise TakenError
        return counted

    async def _void(self, event: _Published, payload: events.ActionVoidedPayload) -> Amendment:
        if await self._store.amendment(payload.user_id, key_of(ACTION_VOIDED, payload.action_id)) is not None:
            raise _SupersededError("the action was voided again")
        submission = await self._store.submission(payload.user_id, payload.action_id)
        if submission is None:
            raise _SupersededError("the voided action is lost")
        before, after = await without_action(self._store, self._cache, submission)
        amendment = self._amendment(event, after, await self._delta(event, before, after))
        return replace(amendment, voids=submission.event_id, actor=payload.actor, reason=payload.reason)

    async def _judgement(self, event: _Published, payload: events.ActionRejudgedPayload) -> Amendment:
        if await self._store.amendment(payload.user_id, key_of(ACTION_REJUDGED, payload.action_id)) is not None:
            raise _SupersededError("the action was judged again by this version once more")
        before = await self._store.last_tally(payload.user_id, event.subject)
        points, after = None, replace(before, sequence=before.sequence + 1, counted=before.counted + delta_of(payload))
        if payload.HasField("points_awarded"):
            attempts, voided = await self._store.attempts(payload.user_id, event.subject)
            points = dict(attempts)
            if payload.rejudged_event_id not in points:
                raise _SupersededError("the action that was judged again is lost")
            points[payload.rejudged_event_id] = payload.points_awarded
            quiz = await self._cache.quiz(payload.quiz_id)
            valid = [earned for event_id, earned in points.items() if event_id not in voided]
            after = tally_of(quiz.counting, before, valid)
        amendment = self._amendment(event, after, await self._delta(event, before, after))
        return replace(
            amendment,
            voids=payload.rejudged_event_id,
            actor=payload.actor,
            reason=payload.reason,
            points=payload.points_awarded if payload.HasField("points_awarded") else None,
            quiz_version=payload.quiz_version,
        )

    async def _adjustment(self, event: _Published, payload: events.ScoreAdjustedPayload) -> Amendment:
        if await self._store.amendment(payload.user_id, key_of(SCORE_ADJUSTED, payload.action_id)) is not None:
            raise _SupersededError("the score was adjusted again")
        before = await self._store.last_tally(payload.user_id, "")
        after = replace(before, sequence=before.sequence + 1)
        amendment = self._amendment(event, after, payload.score_delta)
        return replace(amendment, actor=payload.actor, reason=payload.reason, country=payload.country)

    async def _correct(self, event: _Published, delta: int, counted: int | None = None) -> bool:
        """Record an amendment by `delta`, once for each event, and return whether this call did. Raises TakenError.

        `counted` is what the player's attempts at the quiz count for; None if that stays.
        """
        kind = SCORE_ADJUSTED if event.kind == SCORE_ADJUSTED else ACTION_VOIDED
        user_id, recorded_on = event.payload.user_id, self._outbox.recorded_on
        if not delta or await self._store.amendment(user_id, key_of(kind, event.event_id)) is not None:
            return False
        identity = self._store.identity
        before = await self._store.last_tally(user_id, event.subject)
        after = replace(before, sequence=before.sequence + 1, counted=before.counted if counted is None else counted)
        amendment = replace(
            self._amendment(event, after, delta),
            kind=kind,
            event_id=str(uuid_utils.uuid7()),
            action_id=event.event_id,
            voids=event.event_id if counted is None and kind == ACTION_VOIDED else "",
        )
        await self._store.amend(amendment, self._now() + self._outbox.lease, identity)
        self._outbox.publish(UnpublishedEvent(amendment.event_id, user_id, amendment.event(), recorded_on))
        return True

    def _amendment(self, event: _Published, after: Tally, delta: int) -> Amendment:
        return Amendment(
            kind=event.kind,
            event_id=event.event_id,
            user_id=event.payload.user_id,
            action_id=event.payload.action_id,
            quiz_id=event.quiz_id,
            action_type_id=event.action_type_id,
            tally=after,
            delta=delta,
            voids="",
            actor=CORRECTED_BY,
            reason=CORRECTED_BECAUSE,
            counts_at=event.at,
            received_at=self._now(),
            tags=event.tags,
        )


def _published(data: bytes, *, is_counted: bool) -> _Published:
    try:
        kind = events.EventHeader.FromString(data).event_type
        event = _MESSAGES[kind].FromString(data)
    except (DecodeError, KeyError):
        message = "An event could not be read. Send events of this service as they were published."
        raise ServiceError(Reason.INVALID_ARGUMENT, message) from None
    return _Published(kind, event.event_id, event.payload, is_counted)


def _metadata(payload: Completed) -> str:
    return metadata_text(payload.metadata) if isinstance(payload, ActionCompletedPayload) else ""


def _points_of(payload: events.QuizCompletedPayload, counting: quiz_pb2.Counting.ValueType, before: Tally) -> int:
    """Return the points of an attempt of which only the effect is known, as far as that tells."""
    delta, total = delta_of(payload), quiz_total_of(payload)
    match counting:
        case quiz_pb2.COUNTING_SUM:
            points = delta
        case quiz_pb2.COUNTING_AVERAGE:
            points = total * (before.valid + 1) - before.points_sum
        case quiz_pb2.COUNTING_LAST:
            points = total
        case _:
            points = total if delta > 0 else 0
    return max(0, int32(points))
