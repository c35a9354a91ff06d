"""Actions of action types in the ledger: what is counted and hashed, and that older rows keep their hashes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bson
import pytest
from bson.codec_options import CodecOptions, DatetimeConversion
from topten.action.v1.action_events_pb2 import ActionCompletedEvent
from topten.quiz.v1 import quiz_events_pb2

from services.score.errors import UnprocessableError
from services.score.ingest.decoding import MAX_METADATA, decode
from services.score.ingest.row_events import event_of_row
from services.score.ledger.documents import fold_document, fold_of, row_document, row_of
from services.score.ledger.events import Change, Event
from services.score.ledger.folds.fold import apply, empty_fold, next_row
from services.score.ledger.history import EMPTY
from services.score.ledger.personal_data_digests import PersonalDataDigests
from services.score.ledger.rows import Row, row_hash

DATES: CodecOptions[Mapping[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
DIGESTS = PersonalDataDigests(b"s" * 32)


def message(**payload: Any) -> ActionCompletedEvent:
    event = ActionCompletedEvent(event_id="e1", event_type="ACTION_COMPLETED")
    fields: dict[str, Any] = {
        "user_id": "ada",
        "action_type_id": "run",
        "score_delta": 6,
        "action_id": "a1",
        "attempt": 1,
        "country": "VN",
        "actor": "service:shop",
        "metadata": {"shoe": "left", "order": "7"},
    }
    event.payload.MergeFrom(type(event.payload)(**fields | payload))
    event.payload.timestamp.seconds = 1_763_900_000
    return event


def decoded(event: Any) -> Event:
    return decode(event.SerializeToString(), sequence=7, partition=2, digests=DIGESTS)


def row(event: Event) -> Row:
    return next_row(empty_fold("ada", b"chain"), event, event.at + 5, history=EMPTY)


def test_an_action_counts_in_all_totals_but_those_of_quizzes() -> None:
    counted = row(decoded(message()))
    fold = apply(empty_fold("ada", b"chain"), counted)
    assert (fold.total.points, [total.points for total in fold.weeks.values()], fold.quizzes) == (6, [6], {})
    assert fold.recent.actions == 0, "its type has limits of its own"
    assert counted.change is not None
    assert (counted.kind, counted.change.action_type_id) == ("ACTION_COMPLETED", "run")
    assert counted.change.metadata == '{"order":"7","shoe":"left"}'


def test_a_row_of_an_action_is_stored_and_read_as_it_was_hashed() -> None:
    counted = row(decoded(message()))
    stored = row_of(bson.decode(bson.encode(row_document(counted)), DATES))
    assert stored == counted
    assert row_hash(stored) == stored.hash


def test_the_hash_holds_the_type_and_a_digest_of_the_texts() -> None:
    counted = row(decoded(message()))
    assert counted.change is not None
    erased = counted._replace(change=counted.change._replace(actor="", metadata=""))
    assert row_hash(erased) == counted.hash
    other = counted._replace(change=counted.change._replace(action_type_id="walk"))
    assert row_hash(other) != counted.hash
    assert counted.change.digest == DIGESTS.change("ada", "service:shop", "", counted.change.metadata)
    assert counted.change.digest != DIGESTS.change("ada", "service:shop", "")


def test_a_row_of_an_earlier_version_keeps_its_hash_and_its_document() -> None:
    change = Change("ben", "a test", voids="e0", digest=b"0123456789abcdef")
    voided = row(Event("e1", "ada", "q", -5, 1_763_900_000_000, "a1", 2, 5, "VN", kind="ACTION_VOIDED", change=change))
    assert voided.hash.hex() == "3a1a97b9f8abc7d34243a4931579aaad22147e028dceaa029452e8d748688721"
    assert len(row_document(voided)["change"]) == 6


def test_the_event_of_a_row_is_that_of_the_action() -> None:
    event = decoded(message())
    restored = ActionCompletedEvent.FromString(event_of_row(row(event)))
    expected = message()
    expected.payload.ClearField("attempt")
    assert restored == expected


@pytest.mark.parametrize(
    "payload", [{"action_type_id": ""}, {"action_type_id": "x" * 129}, {"attempt": -1}, {"user_id": ""}]
)
def test_an_action_without_a_type_a_number_or_a_player_is_refused(payload: dict[str, Any]) -> None:
    event = message()
    for name, value in payload.items():
        setattr(event.payload, name, value)
    with pytest.raises(UnprocessableError):
        decoded(event)


def test_too_long_metadata_costs_no_points() -> None:
    event = decoded(message(metadata={"note": "x" * MAX_METADATA}))
    assert event.delta == 6
    assert event.change is not None
    assert event.change.metadata == ""


def test_a_void_is_about_a_quiz_or_about_a_type() -> None:
    def voided(**about: Any) -> Event:
        event = quiz_events_pb2.ActionVoidedEvent(event_id="e2", event_type="ACTION_VOIDED")
        event.payload.MergeFrom(
            quiz_events_pb2.ActionVoidedPayload(user_id="ada", score_delta=-6, attempt=2, voided_event_id="e1", **about)
        )
        event.payload.timestamp.seconds = 1_763_900_000
        return decoded(event)

    of_type, of_quiz = voided(action_type_id="run"), voided(quiz_id="capitals")
    assert of_type.change is not None
    assert (of_type.quiz_id, of_type.change.action_type_id, of_type.change.voids) == ("", "run", "e1")
    assert of_quiz.change is not None
    assert of_quiz.change.action_type_id == ""
    for about in ({}, {"action_type_id": "run", "quiz_id": "capitals"}):
        with pytest.raises(UnprocessableError):
            voided(**about)


def test_an_action_judged_again_moves_the_totals_and_is_traced_to_its_action() -> None:
    event = quiz_events_pb2.ActionRejudgedEvent(event_id="e2", event_type="ACTION_REJUDGED")
    payload = event.payload
    payload.user_id, payload.quiz_id, payload.action_id, payload.attempt = "ada", "capitals", "2:a1", 2
    payload.score_delta, payload.quiz_total, payload.rejudged_event_id = -4, 6, "e1"
    payload.actor, payload.reason, payload.timestamp.seconds = "ben", "a wrong key", 1_763_900_000
    judged = row(decoded(event))
    fold = apply(empty_fold("ada", b"chain"), judged)
    assert (judged.delta, fold.quizzes["capitals"].points) == (-4, 6)
    assert judged.change is not None
    assert (judged.kind, judged.change.voids, judged.change.reason) == ("ACTION_REJUDGED", "e1", "a wrong key")
    again = quiz_events_pb2.ActionRejudgedEvent.FromString(event_of_row(judged)).payload
    assert (again.score_delta, again.rejudged_event_id, again.action_id) == (-4, "e1", "2:a1")
    assert not again.HasField("points_awarded"), "a row has the effect alone"
    payload.attempt = 0
    with pytest.raises(UnprocessableError):
        decoded(event)


def test_an_action_that_shows_metadata_says_so_in_its_hash_its_document_and_its_event() -> None:
    hidden, shown = row(decoded(message())), row(decoded(message(shows_metadata=True)))
    assert "shows_metadata" not in row_document(hidden), "as every earlier row"
    assert shown.hash != hidden.hash
    assert shown.change is not None
    assert shown.change._replace(shows_metadata=False) == hidden.change
    stored = row_of(bson.decode(bson.encode(row_document(shown)), DATES))
    assert stored == shown
    assert row_hash(stored) == shown.hash
    expected = message(shows_metadata=True)
    expected.payload.ClearField("attempt")
    assert ActionCompletedEvent.FromString(event_of_row(shown)) == expected
    folds = [apply(empty_fold("ada", b"chain"), each) for each in (hidden, shown)]
    assert [fold.shows_metadata for fold in folds] == [False, True]
    assert fold_of(bson.decode(bson.encode(fold_document(folds[1])), DATES)) == folds[1]
    assert "shows_metadata" not in fold_document(folds[0])


@pytest.mark.parametrize("metadata", [{}, {"note": "x" * MAX_METADATA}])
def test_an_action_without_metadata_shows_none(metadata: dict[str, str]) -> None:
    event = ActionCompletedEvent.FromString(message(shows_metadata=True).SerializeToString())
    event.payload.ClearField("metadata")
    event.payload.metadata.update(metadata)
    change = decoded(event).change
    assert change is not None
    assert (change.metadata, change.shows_metadata) == ("", False)
