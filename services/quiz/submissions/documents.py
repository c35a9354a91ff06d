"""The documents of the collection `submissions`: a submission or an amendment as stored, and back.

The field `quiz_id` has the subject of a record, by which the unique index numbers a player's records: the quiz, or
`action:<type>` together with the field `action_type_id`, which records about quizzes do not have.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from topten.quiz.v1 import quiz_pb2

from services.quiz.action_types.rule import Happened
from services.quiz.amendments.amendment import Amendment, key_of
from services.quiz.questions.answers import answer_in, answer_list
from services.quiz.quizzes.scoring import Marks, Tally, Use
from services.quiz.submissions.submission import Draft, Submission, event_of_submission
from services.runtime.outbox.store import unpublished_field
from services.runtime.telemetry import tracing
from services.streams import ACTION_REJUDGED

Document = dict[str, Any]


def submission_document(draft: Draft, publish_by: datetime) -> Document:
    """Return the document of a submission whose event is to be published."""
    submission = draft.submission
    document: Document = {
        "_id": submission.event_id,
        "user_id": submission.user_id,
        "action_id": submission.action_id,
        "quiz_id": submission.subject,
        "quiz_version": submission.version,
        "payload_digest": submission.payload_digest,
        "answers": [answer_list(answer) for answer in submission.answers],
        "points": submission.marks.points,
        "correct": submission.marks.correct,
        "questions": submission.marks.questions,
        **_tally_document(submission.tally),
        "delta": submission.delta,
        "country": submission.country,
        "client_time": submission.client_time,
        "received_at": submission.received_at,
        "unpublished": unpublished_field(draft.event, publish_by, draft.trace),
    }
    if submission.elapsed_ms is not None:
        document["elapsed_ms"] = submission.elapsed_ms
    if submission.tags:
        document["tags"] = submission.tags
    if submission.action_type_id:
        document |= {
            "action_type_id": submission.action_type_id,
            "happened": list(submission.happened or ()),
            "metadata": submission.metadata,
            "actor": submission.actor,
        }
    if submission.shows_metadata:
        document["shows_metadata"] = True
    return document


def submission_of(document: Document) -> Submission:
    """Return the submission in a document."""
    return Submission(
        event_id=document["_id"],
        user_id=document["user_id"],
        action_id=document["action_id"],
        quiz_id=quiz_in(document),
        version=document["quiz_version"],
        payload_digest=document["payload_digest"],
        answers=tuple(map(answer_in, document["answers"])),
        marks=Marks(document["points"], document["correct"], document["questions"]),
        tally=tally_in(document),
        delta=document["delta"],
        client_time=document["client_time"],
        received_at=document["received_at"],
        country=document["country"],
        action_type_id=document.get("action_type_id", ""),
        happened=happened_in(document),
        metadata=document.get("metadata", ""),
        actor=document.get("actor", ""),
        tags=tuple(document.get("tags", ())),
        shows_metadata=document.get("shows_metadata", False),
        elapsed_ms=document.get("elapsed_ms"),
    )


def amendment_document(amendment: Amendment, publish_by: datetime) -> Document:
    """Return the document of an amendment whose event is to be published."""
    document = {
        "_id": amendment.event_id,
        "kind": amendment.kind,
        "user_id": amendment.user_id,
        "action_id": amendment.key,
        "quiz_id": amendment.subject,
        **_tally_document(amendment.tally),
        "delta": amendment.delta,
        "voids": amendment.voids,
        "actor": amendment.actor,
        "reason": amendment.reason,
        "counts_at": amendment.counts_at,
        "received_at": amendment.received_at,
        "country": amendment.country,
        "unpublished": unpublished_field(amendment.event(), publish_by, tracing.cause()),
    }
    if amendment.action_type_id:
        document["action_type_id"] = amendment.action_type_id
    if amendment.tags:
        document["tags"] = amendment.tags
    if amendment.kind == ACTION_REJUDGED:
        document |= {"points": amendment.points, "quiz_version": amendment.quiz_version}
    return document


def amendment_of(document: Document) -> Amendment:
    """Return the amendment in a document."""
    kind = document["kind"]
    return Amendment(
        kind=kind,
        event_id=document["_id"],
        user_id=document["user_id"],
        action_id=document["action_id"].removeprefix(key_of(kind, "")),
        quiz_id=quiz_in(document),
        tally=tally_in(document),
        delta=document["delta"],
        voids=document["voids"],
        actor=document["actor"],
        reason=document["reason"],
        counts_at=document["counts_at"],
        received_at=document["received_at"],
        country=document.get("country", ""),
        action_type_id=document.get("action_type_id", ""),
        points=document.get("points"),
        quiz_version=document.get("quiz_version", 0),
        tags=tuple(document.get("tags", ())),
    )


def event_of(document: Document) -> bytes:
    """Return the event of a document, without the client's address and program, which are not kept."""
    if "kind" in document:
        return amendment_of(document).event()
    return event_of_submission(submission_of(document), quiz_pb2.Client(), None)


def quiz_in(document: Document) -> str:
    """Return the quiz of a record; empty if it is not about one."""
    return "" if "action_type_id" in document else document["quiz_id"]


def happened_in(document: Document) -> Happened:
    """Return what happened, as far as the record of an action says it."""
    return tuple(document["happened"]) if document.get("happened") else None


def tally_in(document: Document) -> Tally:
    """Return the tally after the record in a document."""
    return Tally(
        sequence=document["attempt"],
        used=document["used"],
        valid=document["valid"],
        points_sum=document["points_sum"],
        counted=document["counted"],
        recent=tuple(Use(*use) for use in document.get("recent", ())),
    )


def _tally_document(tally: Tally) -> Document:
    document: Document = {
        "attempt": tally.sequence,
        "used": tally.used,
        "valid": tally.valid,
        "points_sum": tally.points_sum,
        "counted": tally.counted,
    }
    if tally.recent:
        document["recent"] = tally.recent
    return document
