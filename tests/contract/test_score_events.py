"""The published forms of ScoreUpdatedEvent: its bytes on the channel and its JSON."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.json_format import MessageToDict
from topten.score.v1 import score_events_pb2

from services.boards.board import Board
from services.runtime.clock import milliseconds_of
from services.score.ledger.events import Event
from services.score.projection.publisher import ScoreUpdate, encode_batch, score_updated_event
from services.score.projection.standings import Standing

EVENT_ID = "01890000-0000-7000-8000-000000000001"
AT = milliseconds_of(datetime(2023, 10, 27, 10, 0, tzinfo=UTC))
COUNTED = ScoreUpdate(
    Event(EVENT_ID, "user123", "capitals", 10, AT, "", 1, 10),
    revision=3,
    total=110,
    country="VN",
    standings=[
        Standing(Board("all"), "user123", 110, 110.5, 3, lowered=False),
        Standing(Board("weekly", "2023-43"), "user123", 0, 0.0, 3, lowered=True),
    ],
)
GOLDEN_BYTES = bytes.fromhex(
    "0a86010a2430313839303030302d303030302d373030302d383030302d303030303030303030303031120d53434f52455f555044415445"
    "441a4f0a0775736572313233106e1a0608a094eea90620032a02564e32100a03616c6c106e190000000000a05b4032120a0e7765656b6c"
    "793a323032332d343320013a0e5155495a5f434f4d504c45544544"
)
GOLDEN_JSON = {
    "eventId": EVENT_ID,
    "eventType": "SCORE_UPDATED",
    "payload": {
        "userId": "user123",
        "newTotalScore": 110,
        "timestamp": "2023-10-27T10:00:00Z",
        "revision": 3,
        "country": "VN",
        "standings": [
            {"board": "all", "points": 110, "value": 110.5, "lowered": False},
            {"board": "weekly:2023-43", "points": 0, "value": 0.0, "lowered": True},
        ],
        "cause": "QUIZ_COMPLETED",
    },
}


def test_the_bytes_on_the_channel_are_the_published_ones() -> None:
    assert encode_batch([COUNTED]).hex() == GOLDEN_BYTES.hex()
    assert list(score_events_pb2.ScoreUpdatedBatch.FromString(GOLDEN_BYTES).events) == [score_updated_event(COUNTED)]


def test_the_json_form_is_the_published_one_with_numbers_and_defaults() -> None:
    assert MessageToDict(score_updated_event(COUNTED), always_print_fields_with_no_presence=True) == GOLDEN_JSON


def test_the_published_fields_keep_their_numbers() -> None:
    event = score_events_pb2.ScoreUpdatedEvent.DESCRIPTOR.fields_by_name
    payload = score_events_pb2.ScoreUpdatedPayload.DESCRIPTOR.fields_by_name
    assert [event[name].number for name in ("event_id", "event_type", "payload")] == [1, 2, 3]
    assert [payload[name].number for name in ("user_id", "new_total_score", "timestamp")] == [1, 2, 3]
