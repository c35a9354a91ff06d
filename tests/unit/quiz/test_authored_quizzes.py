"""Pages of authored quizzes."""

from __future__ import annotations

from buf.validate import validate_pb2
from topten.authoring.v1 import authoring_service_pb2 as messages

from services.quiz.authoring.service import EXPORT_PAGE
from services.runtime.grpc.client import MAX_MESSAGE_BYTES


def test_a_page_of_exported_quizzes_fits_into_a_message() -> None:
    document = messages.SaveDraftRequest.DESCRIPTOR.fields_by_name["document"]
    largest = document.GetOptions().Extensions[validate_pb2.field].string.max_bytes
    assert 0 < EXPORT_PAGE * largest < MAX_MESSAGE_BYTES
