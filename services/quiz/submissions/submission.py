"""The record of one action, at a quiz or of an action type: what was submitted, its points, and its event. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp
from topten.action.v1 import action_events_pb2
from topten.quiz.v1 import quiz_events_pb2, quiz_pb2

from services.quiz.action_types.rule import Happened
from services.quiz.questions.answers import Answer, answer_list
from services.quiz.quizzes.scoring import Marks, Tally
from services.quiz.quizzes.terms import subject_of
from services.quiz.submissions.event_points import set_points
from services.runtime.stores.data_identity import DataIdentity
from services.streams import ACTION_COMPLETED, QUIZ_COMPLETED

_MILLISECOND = timedelta(milliseconds=1)
_MAX_INT32 = 2**31 - 1
_json = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Submission:
    """One recorded action. `event_id` identifies the submission and its one event.

    It is at a quiz, or else of an action type, with what happened, metadata (a JSON object) and who submitted it in the
    player's place; `version` is the one of the quiz or type by which it was judged. `tally` is the player's tally after it,
    `delta` its change of the counted total. `received_at` is the server's time, in milliseconds, and `client_time` the
    client's, None if it named none.
    """

    event_id: str
    user_id: str
    action_id: str
    quiz_id: str
    version: int
    payload_digest: str
    answers: tuple[Answer, ...]
    marks: Marks
    tally: Tally
    delta: int
    client_time: datetime | None
    received_at: datetime
    country: str = ""
    action_type_id: str = ""
    happened: Happened = None
    metadata: str = ""
    actor: str = ""
    tags: tuple[str, ...] = ()
    """The tags under which it counts."""
    shows_metadata: bool = False
    """Whether boards show the metadata."""
    elapsed_ms: int | None = None
    """Of an attempt that was started, its time as the time bonus counts it."""
    outcomes: Sequence[quiz_pb2.QuestionOutcome] = ()
    """What the player may know of single questions. Never stored."""

    @property
    def subject(self) -> str:
        """What the submission is about, by which the player's records are numbered."""
        return subject_of(self.quiz_id, self.action_type_id)


class Draft(NamedTuple):
    """A submission that is about to be recorded, with its event and the traceparent that both belong to.

    `identity` is the data that its tally was read from.
    """

    submission: Submission
    event: bytes
    identity: DataIdentity
    trace: str = ""


@dataclass(frozen=True, slots=True)
class SubmittedEvent:
    """What an audit needs of a recorded event."""

    event_id: str
    user_id: str
    delta: int
    published: bool


class TakenError(Exception):
    """Another record of the player has the action id or the sequence number; the caller must find out which."""


def payload_digest(quiz_id: str, answers: Sequence[Answer]) -> str:
    """Return the digest that identifies a payload: its quiz and its answers in any order, without the timestamp."""
    payload = _json([quiz_id, sorted(map(answer_list, answers))])
    return hashlib.sha256(payload.encode()).hexdigest()


def metadata_text(metadata: Mapping[str, str]) -> str:
    """Return metadata as a JSON object, empty if there is none."""
    return json.dumps(dict(metadata), sort_keys=True, ensure_ascii=False, separators=(",", ":")) if metadata else ""


def report_digest(action_type_id: str, happened: Happened) -> str:
    """Return the digest that identifies a reported action: its type and what happened, without time and metadata."""
    payload = _json(["action", action_type_id, happened])
    return hashlib.sha256(payload.encode()).hexdigest()


def event_of_submission(submission: Submission, client: quiz_pb2.Client, elapsed: timedelta | None) -> bytes:
    """Return the event of a submission. `elapsed` is the time since the player received the quiz, if known."""
    if submission.action_type_id:
        return _action_event(submission, client).SerializeToString()
    return completed_event(submission, client, elapsed).SerializeToString()


@lru_cache(maxsize=4)
def _timestamp_of(at: datetime) -> Timestamp:
    """Return a time for copying: the actions of a group were received at the same one."""
    timestamp = Timestamp()
    timestamp.FromDatetime(at)
    return timestamp


def _action_event(submission: Submission, client: quiz_pb2.Client) -> action_events_pb2.ActionCompletedEvent:
    event = action_events_pb2.ActionCompletedEvent(event_id=submission.event_id, event_type=ACTION_COMPLETED)
    payload = event.payload  # filled in place: a message that is given to a constructor is copied
    payload.user_id = submission.user_id
    payload.action_type_id = submission.action_type_id
    payload.score_delta = submission.delta
    payload.timestamp.CopyFrom(_timestamp_of(submission.received_at))
    payload.action_id = submission.action_id
    payload.attempt = submission.tally.sequence
    payload.country = submission.country
    payload.client.CopyFrom(client)
    payload.actor = submission.actor
    if submission.metadata:
        payload.metadata.update(json.loads(submission.metadata))
    if submission.tags:
        payload.tags.extend(submission.tags)
    payload.shows_metadata = submission.shows_metadata
    return event


def completed_event(
    submission: Submission, client: quiz_pb2.Client, elapsed: timedelta | None
) -> quiz_events_pb2.QuizCompletedEvent:
    """Return the event of a submission at a quiz."""
    event = quiz_events_pb2.QuizCompletedEvent(
        event_id=submission.event_id,
        event_type=QUIZ_COMPLETED,
        payload=quiz_events_pb2.QuizCompletedPayload(
            user_id=submission.user_id,
            quiz_id=submission.quiz_id,
            timestamp=_timestamp_of(submission.received_at),
            action_id=submission.action_id,
            attempt=submission.tally.sequence,
            points_awarded=submission.marks.points,
            correct_answers=submission.marks.correct,
            total_questions=submission.marks.questions,
            country=submission.country,
            client=client,
            tags=submission.tags,
        ),
    )
    set_points(event.payload, submission.delta, submission.tally.counted)
    if elapsed is not None:
        event.payload.elapsed_ms = max(0, min(elapsed // _MILLISECOND, _MAX_INT32))
    return event
