"""What is refused of the stream, and what never leaves."""

from __future__ import annotations

import pytest
from topten.quiz.v1 import quiz_events_pb2

from services.score.answers import Answer, LaterError, NeverError, answer_to
from services.score.events import decode, event_id_of
from services.score.seals import Seals

SALT = b"s" * 32


def message() -> quiz_events_pb2.QuizCompletedEvent:
    sound = quiz_events_pb2.QuizCompletedEvent(event_id="e1", event_type="QUIZ_COMPLETED")
    payload = sound.payload
    payload.user_id, payload.quiz_id, payload.score_delta = "ada", "capitals", 10
    payload.timestamp.seconds, payload.timestamp.nanos = 1_763_900_000, 123_456_789
    payload.attempt, payload.quiz_total, payload.country = 1, 10, "VN"
    payload.client.ip, payload.client.user_agent = "192.0.2.7", "Browser/1"
    return sound


def decoded(sound: quiz_events_pb2.QuizCompletedEvent, salt: bytes = SALT) -> object:
    return decode(sound.SerializeToString(), sequence=7, partition=2, seals=Seals(salt))


def test_a_sound_event_is_read_to_the_millisecond() -> None:
    found = decode(message().SerializeToString(), sequence=7, partition=2, seals=Seals(SALT))
    assert (found.event_id, found.user_id, found.quiz_id, found.delta) == ("e1", "ada", "capitals", 10)
    assert (found.at, found.attempt, found.quiz_total, found.country) == (1_763_900_000_123, 1, 10, "VN")
    assert (found.sequence, found.partition) == (7, 2)


def test_the_digest_of_a_client_needs_the_salt_and_holds_neither_part() -> None:
    first, again = (decode(message().SerializeToString(), sequence=1, partition=0, seals=Seals(SALT)) for _ in range(2))
    other = decode(message().SerializeToString(), sequence=1, partition=0, seals=Seals(b"t" * 32))
    assert first.client == again.client != other.client
    assert b"192.0.2.7" not in first.client
    nobody = message()
    nobody.payload.ClearField("client")
    assert decode(nobody.SerializeToString(), sequence=1, partition=0, seals=Seals(SALT)).client == b""


def test_a_country_that_is_none_costs_no_points() -> None:
    strange = message()
    strange.payload.country = "Atlantis"
    assert decode(strange.SerializeToString(), sequence=1, partition=0, seals=Seals(SALT)).country == ""


@pytest.mark.parametrize(
    ("field", "value"),
    [("user_id", ""), ("user_id", "x" * 129), ("quiz_id", ""), ("quiz_id", "no such/id"), ("attempt", 0)],
)
def test_a_payload_that_can_mean_nothing_is_refused(field: str, value: object) -> None:
    wrong = message()
    setattr(wrong.payload, field, value)
    with pytest.raises(NeverError):
        decoded(wrong)


def test_another_type_no_id_no_time_and_other_bytes_are_refused() -> None:
    other, nameless, timeless = message(), message(), message()
    other.event_type, nameless.event_id = "SOMETHING_ELSE", ""
    timeless.payload.ClearField("timestamp")
    for wrong in (other, nameless, timeless):
        with pytest.raises(NeverError):
            decoded(wrong)
    with pytest.raises(NeverError):
        decode(b"\xff\xff\xff", sequence=1, partition=0, seals=Seals(SALT))
    assert event_id_of(b"\xff\xff\xff") == ""
    assert event_id_of(other.SerializeToString()) == "e1"


def test_each_class_of_error_has_one_answer_and_a_fault_of_the_program_none() -> None:
    assert answer_to(NeverError("x")) is Answer.NEVER
    assert answer_to(OverflowError()) is Answer.NEVER
    assert answer_to(LaterError("x")) is Answer.LATER
    assert answer_to(TimeoutError()) is Answer.AGAIN
    assert answer_to(ConnectionResetError()) is Answer.AGAIN
    with pytest.raises(KeyError):
        answer_to(KeyError("x"))
