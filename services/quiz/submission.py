"""The record of one action: what was done, what it earned, and the event it leads to. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from topten.quiz.v1 import quiz_events_pb2, quiz_pb2

from services.quiz.scoring import Answer, Marks, Tally

QUIZ_COMPLETED = "QUIZ_COMPLETED"
_MILLISECOND = timedelta(milliseconds=1)
_MAX_INT32 = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Submission:
    """One recorded action. `event_id` is its own id as well: one submission, one event.

    `tally` is the standing after it, `delta` what it changes. `received_at` is the server's time, in milliseconds.
    """

    event_id: str
    user_id: str
    action_id: str
    quiz_id: str
    quiz_version: int
    payload_digest: str
    answers: tuple[Answer, ...]
    marks: Marks
    tally: Tally
    delta: int
    client_time: datetime
    received_at: datetime
    country: str = ""


@dataclass(frozen=True, slots=True)
class SubmittedEvent:
    """What an audit needs of a recorded submission's event."""

    event_id: str
    user_id: str
    delta: int
    published: bool


class TakenError(Exception):
    """Another submission has the action id or the attempt number; which of the two is for the caller to find out."""


def payload_digest(quiz_id: str, answers: Sequence[Answer]) -> str:
    """What tells two payloads of one action apart: quiz and answers, in whatever order these came; not the timestamp."""
    payload = json.dumps([quiz_id, sorted(answers)], separators=(",", ":"))
    return hashlib.sha256(payload.encode()).hexdigest()


def completed_event(
    submission: Submission, client: quiz_pb2.Client, elapsed: timedelta | None
) -> quiz_events_pb2.QuizCompletedEvent:
    """The fact that the submission states. `elapsed` is how long the player had the quiz, if that is known."""
    timestamp = Timestamp()
    timestamp.FromDatetime(submission.received_at)
    event = quiz_events_pb2.QuizCompletedEvent(
        event_id=submission.event_id,
        event_type=QUIZ_COMPLETED,
        payload=quiz_events_pb2.QuizCompletedPayload(
            user_id=submission.user_id,
            quiz_id=submission.quiz_id,
            score_delta=submission.delta,
            timestamp=timestamp,
            action_id=submission.action_id,
            attempt=submission.tally.place,
            quiz_total=submission.tally.counted,
            points_awarded=submission.marks.points,
            correct_answers=submission.marks.correct,
            total_questions=submission.marks.questions,
            country=submission.country,
            client=client,
        ),
    )
    if elapsed is not None:
        event.payload.elapsed_ms = max(0, min(elapsed // _MILLISECOND, _MAX_INT32))
    return event
