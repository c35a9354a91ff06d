"""Requests of every method, made of any bytes, times and ids."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC
from typing import Any

import protovalidate
import pytest
from buf.validate import validate_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from topten.action.v1 import action_service_pb2 as action
from topten.attempt.v1 import attempt_service_pb2 as attempt
from topten.authoring.v1 import authoring_service_pb2 as authoring
from topten.board.v1 import board_service_pb2 as board
from topten.group.v1 import group_service_pb2 as group
from topten.identity.v1 import identity_service_pb2 as identity
from topten.leaderboard.v1 import leaderboard_service_pb2 as leaderboard
from topten.quiz.v1 import quiz_pb2
from topten.quiz.v1 import quiz_service_pb2 as quiz
from topten.room.v1 import room_service_pb2 as room
from topten.score.v1 import score_service_pb2 as score
from topten.text.v1 import text_pb2
from topten.webhook.v1 import webhook_service_pb2 as webhook

from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.requests import PATTERNS, read, violations
from tests.properties import examples

VALIDATOR = protovalidate.Validator()
FILES = (identity, quiz, score, leaderboard)
ALL_FILES = (*FILES, action, attempt, authoring, board, group, room, webhook)
REQUESTS, ALL_REQUESTS = (
    [
        method.input_type
        for file in files
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
    for files in (FILES, ALL_FILES)
)


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


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (identity.BlockUserRequest(user_id="", reason="r"), "user_id: must be at least 1 character"),
        (
            identity.GrantRoleRequest(username="ada", role="boss"),
            "role: must be one of player, author, moderator, admin",
        ),
        (identity.ListUsersRequest(page_size=-1), "page_size: must be from 0 to 100"),
        (identity.EnsurePlayersRequest(), "players: must have at least 1 item"),
        (identity.CheckSessionsRequest(session_ids=["a", "a"]), "session_ids: must have nothing twice"),
        (identity.GetUsersRequest(user_ids=map(str, range(101))), "user_ids: must have at most 100 items"),
        (quiz.AdjustScoreRequest(user_id="u", reason="r", delta=0), "delta: must not be 0"),
        (
            quiz.SubmitActionRequest(wait=99),  # type: ignore[arg-type]  # bytes may have any number
            "wait: must be one of the values of the contract",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Message) else None,
)
def test_a_broken_rule_is_told_in_plain_words(sent: Message, told: str) -> None:
    assert told in {f"{field}: {text}" for field, text in violations(sent, VALIDATOR)}


def test_no_rule_is_told_in_the_words_of_the_library() -> None:
    for request in ALL_REQUESTS:
        found = violations(message_factory.GetMessageClass(request)(), VALIDATOR)
        assert not [text for _, text in found if text.startswith("value ") or "(s)" in text]


def test_every_pattern_of_the_contracts_is_told_in_words() -> None:
    seen: set[str] = set()
    patterns: set[str] = set()

    def look(descriptor: Descriptor) -> None:
        if descriptor.full_name in seen:
            return
        seen.add(descriptor.full_name)
        for field in descriptor.fields:
            rules = field.GetOptions().Extensions[validate_pb2.field]
            both = (rules.string, rules.repeated.items.string, rules.map.keys.string, rules.map.values.string)
            patterns.update(each.pattern for each in both if each.pattern)
            if field.message_type is not None:
                look(field.message_type)

    for request in ALL_REQUESTS:
        look(request)
    assert patterns == PATTERNS.keys(), "give each pattern its words in services/runtime/grpc/requests.py"
    sent = identity.UpdateProfileRequest(country="Vietnam")
    with pytest.raises(ServiceError, match=r"country: must be two capital letters, such as VN$"):
        read(identity.UpdateProfileRequest.FromString, sent.SerializeToString(), VALIDATOR)


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
    places = room.GetRoomBoardRequest(room_id=action_id.upper(), ids=[user_id.upper()])
    assert read(room.GetRoomBoardRequest.FromString, places.SerializeToString(), VALIDATOR) == room.GetRoomBoardRequest(
        room_id=action_id, ids=[user_id]
    )
    twice = leaderboard.GetRanksRequest(user_ids=[user_id.upper(), user_id])
    with pytest.raises(ServiceError):
        read(leaderboard.GetRanksRequest.FromString, twice.SerializeToString(), VALIDATOR)


def _texts(descriptor: Descriptor, seen: frozenset[str] = frozenset()) -> Iterator[tuple[list[FieldDescriptor], str]]:
    """The fields that lead to each text of a message."""
    for field in descriptor.fields:
        if _is_left_to_the_handler(field):
            continue
        if field.type == FieldDescriptor.TYPE_STRING:
            yield [field], field.name
        elif field.message_type is not None and field.message_type.full_name not in seen:
            if field.message_type.GetOptions().map_entry:
                continue
            for path, name in _texts(field.message_type, seen | {descriptor.full_name}):
                yield [field, *path], name


def _is_left_to_the_handler(field: FieldDescriptor) -> bool:
    """Whether the handler checks it: the items of a group one by one, so that a fault of one does not refuse the others."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    return validate_pb2.IGNORE_ALWAYS in (rules.ignore, rules.repeated.items.ignore)


def _with_text(descriptor: Descriptor, path: list[FieldDescriptor], text: str) -> Message:
    message = message_factory.GetMessageClass(descriptor)()
    inner: Any = message
    for field in path[:-1]:
        inner = getattr(inner, field.name).add() if field.is_repeated else getattr(inner, field.name)
    last = path[-1]
    if last.is_repeated:
        getattr(inner, last.name).append(text)
    else:
        setattr(inner, last.name, text)
    return message


@pytest.mark.parametrize("descriptor", ALL_REQUESTS, ids=lambda descriptor: descriptor.full_name)
def test_every_text_is_composed_whichever_device_sent_it(descriptor: Descriptor) -> None:
    """Letters with accents are one or two characters, as the device likes: a title or tag is the same text either way."""
    for path, name in _texts(descriptor):
        is_any = path[-1].GetOptions().Extensions[text_pb2.form] == text_pb2.FORM_ANY
        is_kept = is_any or name == "ids" or name.endswith(("_id", "_ids"))
        sent, composed = (_with_text(descriptor, path, text) for text in ("Vie\u0323\u0302t", "Vi\u1ec7t"))
        violations(sent, VALIDATOR)
        assert (sent == composed) is not is_kept, [field.name for field in path]
