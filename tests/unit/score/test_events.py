"""Decoding: which messages are refused, and which personal data is never passed on."""

from __future__ import annotations

import pytest
from pymongo.errors import DocumentTooLarge
from topten.quiz.v1 import quiz_events_pb2

from services.score.errors import RetryableError, UnprocessableError
from services.score.ingest.ack_policy import AckPolicy, ack_policy, is_outage
from services.score.ingest.decoding import decode, event_id_of
from services.score.ledger.personal_data_digests import PersonalDataDigests

SALT = b"s" * 32


def message() -> quiz_events_pb2.QuizCompletedEvent:
    valid = quiz_events_pb2.QuizCompletedEvent(event_id="e1", event_type="QUIZ_COMPLETED")
    payload = valid.payload
    payload.user_id, payload.quiz_id, payload.score_delta = "ada", "capitals", 10
    payload.timestamp.seconds, payload.timestamp.nanos = 1_763_900_000, 123_456_789
    payload.attempt, payload.quiz_total, payload.country = 1, 10, "VN"
    payload.client.ip, payload.client.user_agent = "192.0.2.7", "Browser/1"
    return valid


def decoded(valid: quiz_events_pb2.QuizCompletedEvent, salt: bytes = SALT) -> object:
    return decode(valid.SerializeToString(), sequence=7, partition=2, digests=PersonalDataDigests(salt))


def test_valid_event_is_decoded_to_the_millisecond() -> None:
    event = decode(message().SerializeToString(), sequence=7, partition=2, digests=PersonalDataDigests(SALT))
    assert (event.event_id, event.user_id, event.quiz_id, event.delta) == ("e1", "ada", "capitals", 10)
    assert (event.at, event.attempt, event.quiz_total, event.country) == (1_763_900_000_123, 1, 10, "VN")
    assert (event.sequence, event.partition) == (7, 2)


def test_client_digest_depends_on_the_salt_and_contains_no_address() -> None:
    first, second = (
        decode(message().SerializeToString(), sequence=1, partition=0, digests=PersonalDataDigests(SALT))
        for _ in range(2)
    )
    other = decode(message().SerializeToString(), sequence=1, partition=0, digests=PersonalDataDigests(b"t" * 32))
    assert first.client == second.client != other.client
    assert b"192.0.2.7" not in first.client
    unknown = message()
    unknown.payload.ClearField("client")
    assert decode(unknown.SerializeToString(), sequence=1, partition=0, digests=PersonalDataDigests(SALT)).client == b""


def test_invalid_country_costs_no_points() -> None:
    invalid = message()
    invalid.payload.country = "Atlantis"
    assert decode(invalid.SerializeToString(), sequence=1, partition=0, digests=PersonalDataDigests(SALT)).country == ""


@pytest.mark.parametrize(
    ("field", "value"),
    [("user_id", ""), ("user_id", "x" * 129), ("quiz_id", ""), ("quiz_id", "no such/id"), ("attempt", 0)],
)
def test_invalid_payload_is_refused(field: str, value: object) -> None:
    invalid = message()
    setattr(invalid.payload, field, value)
    with pytest.raises(UnprocessableError):
        decoded(invalid)


def test_unknown_type_missing_id_missing_time_and_garbage_are_refused() -> None:
    other, without_id, without_time = message(), message(), message()
    other.event_type, without_id.event_id = "SOMETHING_ELSE", ""
    without_time.payload.ClearField("timestamp")
    for invalid in (other, without_id, without_time):
        with pytest.raises(UnprocessableError):
            decoded(invalid)
    with pytest.raises(UnprocessableError):
        decode(b"\xff\xff\xff", sequence=1, partition=0, digests=PersonalDataDigests(SALT))
    assert event_id_of(b"\xff\xff\xff") == ""
    assert event_id_of(other.SerializeToString()) == "e1"


def test_the_class_of_an_error_decides_what_happens_to_its_message() -> None:
    assert ack_policy(None) is AckPolicy.ACK
    assert ack_policy(RetryableError("x")) is AckPolicy.RETRY
    for error in (UnprocessableError("x"), OverflowError(), DocumentTooLarge("x")):
        assert ack_policy(error) is AckPolicy.DEAD_LETTER


def test_neither_an_outage_nor_a_defect_of_the_program_settles_a_message() -> None:
    for outage in (TimeoutError(), ConnectionResetError()):
        assert is_outage(outage)
        with pytest.raises(type(outage)):
            ack_policy(outage)
    with pytest.raises(KeyError):
        ack_policy(KeyError("x"))
