"""Requests of every method, made of any bytes, times and ids."""

from __future__ import annotations

import uuid
from datetime import UTC

import protovalidate
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from topten.identity.v1 import identity_service_pb2 as identity
from topten.leaderboard.v1 import leaderboard_service_pb2 as leaderboard
from topten.quiz.v1 import quiz_pb2
from topten.quiz.v1 import quiz_service_pb2 as quiz
from topten.score.v1 import score_service_pb2 as score

from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.requests import read
from tests.properties import examples

VALIDATOR = protovalidate.Validator()
REQUESTS = [
    method.input_type
    for file in (identity, quiz, score, leaderboard)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


@pytest.mark.parametrize("descriptor", REQUESTS, ids=lambda descriptor: descriptor.full_name)
@given(data=st.binary(max_size=64))
@examples(30)
def test_no_bytes_fail_in_another_way_than_as_invalid(descriptor: Descriptor, data: bytes) -> None:
    try:
        read(message_factory.GetMessageClass(descriptor).FromString, data, VALIDATOR)
    except ServiceError as error:
        assert error.reason is Reason.INVALID_ARGUMENT  # most examples are refused


@given(seconds=st.integers(-(2**63), 2**63 - 1), nanos=st.integers(-(2**31), 2**31 - 1))
@settings(deadline=None)
def test_every_admitted_time_can_be_read(seconds: int, nanos: int) -> None:
    request = identity.BlockUserRequest(user_id="u", reason="r", expires_at=Timestamp(seconds=seconds, nanos=nanos))
    data = request.SerializeToString()
    try:
        admitted = read(identity.BlockUserRequest.FromString, data, VALIDATOR)
    except ServiceError as error:
        assert error.violations[0][0] == "expires_at"  # most examples are refused
    else:
        assert isinstance(admitted, identity.BlockUserRequest)
        assert admitted.expires_at.ToDatetime(UTC).year >= 1


def test_a_time_that_does_not_exist_is_refused_wherever_it_stands() -> None:
    definition = quiz_pb2.QuizDefinition(closes_at=Timestamp(seconds=2**63 - 1))
    with pytest.raises(ServiceError) as caught:
        read(
            quiz.ImportQuizRequest.FromString,
            quiz.ImportQuizRequest(definition=definition).SerializeToString(),
            VALIDATOR,
        )
    assert "definition.closes_at" in dict(caught.value.violations)


def test_a_bound_of_one_is_told_in_the_singular() -> None:
    sent = identity.BlockUserRequest(user_id="", reason="r")
    with pytest.raises(ServiceError, match=r"user_id: .*at least 1 character$"):
        read(identity.BlockUserRequest.FromString, sent.SerializeToString(), VALIDATOR)


def test_ids_in_capitals_are_the_same_ids() -> None:
    user_id, action_id = str(uuid.uuid4()), str(uuid.uuid4())
    sent = quiz.VoidActionRequest(user_id=user_id.upper(), action_id=action_id.upper(), reason="FOR A REASON")
    assert read(quiz.VoidActionRequest.FromString, sent.SerializeToString(), VALIDATOR) == quiz.VoidActionRequest(
        user_id=user_id, action_id=action_id, reason="FOR A REASON"
    )
    several = leaderboard.GetRanksRequest(user_ids=[user_id.upper(), "NotAUuid"])
    assert read(leaderboard.GetRanksRequest.FromString, several.SerializeToString(), VALIDATOR) == (
        leaderboard.GetRanksRequest(user_ids=[user_id, "NotAUuid"])
    )
    twice = leaderboard.GetRanksRequest(user_ids=[user_id.upper(), user_id])
    with pytest.raises(ServiceError):
        read(leaderboard.GetRanksRequest.FromString, twice.SerializeToString(), VALIDATOR)
