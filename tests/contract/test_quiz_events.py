"""The published forms of QuizCompletedEvent: its bytes on the stream and its JSON."""

import json
from datetime import UTC, datetime

from google.protobuf.json_format import MessageToDict
from topten.quiz.v1 import quiz_events_pb2, quiz_pb2

from services.quiz.questions.answers import selected
from services.quiz.quizzes.scoring import Marks, Tally
from services.quiz.submissions.submission import Submission, completed_event

EVENT_ID = "01890000-0000-7000-8000-000000000001"
SUBMISSION = Submission(
    event_id=EVENT_ID,
    user_id="user123",
    action_id="9f1d6f0e-7f3a-4a7e-9a43-1d1c5f0c1a2b",
    quiz_id="quiz456",
    version=1,
    payload_digest="",
    answers=(selected("q1", "a"),),
    marks=Marks(points=10, correct=1, questions=2),
    tally=Tally(sequence=1, used=1, valid=1, points_sum=10, counted=10),
    delta=10,
    client_time=datetime(2023, 10, 27, 9, 59, tzinfo=UTC),
    received_at=datetime(2023, 10, 27, 10, 0, tzinfo=UTC),
    country="VN",
)
GOLDEN_BYTES = bytes.fromhex(
    "0a2430313839303030302d303030302d373030302d383030302d303030303030303030303031120e5155495a5f434f4d504c455445441a"
    "670a077573657231323312077175697a343536180a220608a094eea9062a2439663164366630652d376633612d346137652d396134332d"
    "3164316335663063316132623001380a400a480150025a02564e62150a093132372e302e302e311208746f7074656e2f31"
)
GOLDEN_JSON = {
    "eventId": EVENT_ID,
    "eventType": "QUIZ_COMPLETED",
    "payload": {
        "userId": "user123",
        "quizId": "quiz456",
        "scoreDelta": 10,
        "timestamp": "2023-10-27T10:00:00Z",
        "actionId": "9f1d6f0e-7f3a-4a7e-9a43-1d1c5f0c1a2b",
        "attempt": 1,
        "quizTotal": 10,
        "pointsAwarded": 10,
        "correctAnswers": 1,
        "totalQuestions": 2,
        "country": "VN",
        "client": {"ip": "127.0.0.1", "userAgent": "topten/1"},
        "tags": [],
    },
}


def event() -> quiz_events_pb2.QuizCompletedEvent:
    return completed_event(SUBMISSION, quiz_pb2.Client(ip="127.0.0.1", user_agent="topten/1"), None)


def test_the_bytes_on_the_stream_are_the_published_ones() -> None:
    assert event().SerializeToString(deterministic=True).hex() == GOLDEN_BYTES.hex()
    assert quiz_events_pb2.QuizCompletedEvent.FromString(GOLDEN_BYTES) == event()


def test_the_json_is_the_published_one_with_numbers_as_numbers() -> None:
    shown = MessageToDict(event(), always_print_fields_with_no_presence=True)
    assert json.loads(json.dumps(shown)) == GOLDEN_JSON
    assert all(isinstance(shown["payload"][key], int) for key in ("scoreDelta", "attempt", "quizTotal"))


def test_a_delta_of_zero_is_shown() -> None:
    message = quiz_events_pb2.QuizCompletedEvent(payload=quiz_events_pb2.QuizCompletedPayload(score_delta=0))
    assert MessageToDict(message, always_print_fields_with_no_presence=True)["payload"]["scoreDelta"] == 0


def test_id_and_type_can_be_read_from_any_event() -> None:
    fields = quiz_events_pb2.QuizCompletedEvent.DESCRIPTOR.fields_by_number
    assert (fields[1].name, fields[2].name) == ("event_id", "event_type")
