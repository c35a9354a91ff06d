"""Numbers, bytes and texts that a stranger chooses: every numeric field of every method, every value of GraphQL.

None may end with INTERNAL or UNKNOWN, nor leave a traceback.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from graphql import GraphQLInputObjectType, get_named_type, is_required_input_field

from services.cli.system.client import GraphqlClient
from services.identity.tokens import TokenIssuer
from services.runtime.auth.access import SCOPES
from services.runtime.clock import utc_now
from services.runtime.errors import from_rpc_error
from tests.deadline import deadline_seconds
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import Player, endpoints, register
from tests.servers import RunningStack
from tests.system.access.calls import document, dummy
from tests.system.access.permissions import FIELDS, METHODS, RPCS, process_of
from tests.system.graphql import Web, browsing

# A quiz of this module: some methods close it.
QUIZ = "extremes"
INTEGERS = (0, -1, 1, 2**31 - 1, -(2**31), 2**31, 2**63 - 1, -(2**63))
FLOATS = (0.0, -1.0, 1e-9, 5e-324, 100.0, 1e308, float("inf"), float("-inf"), float("nan"))
# The rebuild of all boards is no number's effect, and takes long.
METHODS_WITHOUT_REBUILD = [path for path in RPCS if "Rebuild" not in path]
_NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32: INTEGERS,
    FieldDescriptor.CPPTYPE_INT64: INTEGERS,
    FieldDescriptor.CPPTYPE_UINT32: INTEGERS,
    FieldDescriptor.CPPTYPE_UINT64: INTEGERS,
    FieldDescriptor.CPPTYPE_ENUM: INTEGERS,
    FieldDescriptor.CPPTYPE_FLOAT: FLOATS,
    FieldDescriptor.CPPTYPE_DOUBLE: FLOATS,
}


@pytest.fixture(scope="module")
async def player(stack: RunningStack) -> Player:
    await import_quiz(endpoints(stack), quiz_definition(QUIZ))
    async with GraphqlClient(endpoints(stack).graphql) as client:
        opened = await register(client)
        await opened.submit(QUIZ, [])
    return opened


@pytest.fixture(scope="module")
def token(stack: RunningStack) -> str:
    """A token with every role and every scope."""
    pem = (stack.data / "secrets" / "signing_key.pem").read_text()
    issuer = TokenIssuer(pem, issuer="topten", audience="topten", access_ttl=timedelta(minutes=10))
    return issuer.service_token(str(uuid.uuid4()), frozenset({"player", "admin"}), frozenset(SCOPES), utc_now())


@pytest.fixture(autouse=True)
def no_traceback(stack: RunningStack) -> Iterator[None]:
    logs = {log: log.stat().st_size for log in (stack.data / "logs").glob("*.log")}
    yield
    for log, size in logs.items():
        with log.open("rb") as file:
            file.seek(size)
            assert b"Traceback" not in file.read(), log.name


def filled(descriptor: Descriptor, player: Player) -> Message:
    """A message whose every field has a plausible value."""
    message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if field.message_type is not None:
            value: Any = filled(field.message_type, player)
            if field.message_type.GetOptions().map_entry:
                getattr(message, field.name)[value.key] = value.value
            elif field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                getattr(message, field.name).CopyFrom(value)
        elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING and "token" not in field.name:
            value = text_of(field.name, player)
            setattr(message, field.name, value) if not field.is_repeated else getattr(message, field.name).append(value)
        elif field.cpp_type in _NUMBERS and not field.is_repeated:
            setattr(message, field.name, 1)
    return message


def text_of(name: str, player: Player) -> Any:
    texts = {"quiz_id": QUIZ, "board": "all", "boards": "all", "country": "VN", "ip": "192.0.2.1"}
    if name.startswith("user_id"):
        return player.user_id
    if name in {"action_id", "change_id", "sanction_id"}:
        return str(uuid.uuid4())
    if name in {"proof", "supersedes"}:
        return b""
    if name == "root":
        return bytes(32)
    return texts.get(name, "x" * 8)


def variants(descriptor: Descriptor, player: Player) -> Iterator[Message]:
    """The message with each of its numbers, at any depth, as each extreme."""
    for path in paths(descriptor):
        for extreme in _NUMBERS[path[-1].cpp_type]:
            message: Any = filled(descriptor, player)
            holder = message
            for field in path[:-1]:
                holder = getattr(holder, field.name)
                if field.is_repeated and not hasattr(holder, "keys"):
                    holder = holder[0]
            try:
                if isinstance(holder, Message):
                    setattr(holder, path[-1].name, extreme)
                else:  # the values of a map
                    holder["x"] = extreme
            except ValueError:
                continue  # no such number on the wire
            yield message


def paths(descriptor: Descriptor) -> Iterator[tuple[FieldDescriptor, ...]]:
    for field in descriptor.fields:
        if field.message_type is not None:
            yield from ((field, *path) for path in paths(field.message_type))
        elif field.cpp_type in _NUMBERS and not field.is_repeated:
            yield (field,)


async def outcome(stack: RunningStack, path: str, data: bytes, token: str) -> tuple[str, str]:
    """Call a method with bytes; return the status and the reason."""
    method: MethodDescriptor = METHODS[path]
    metadata = (("authorization", f"Bearer {token}"),)
    async with grpc.aio.insecure_channel(stack.endpoints["grpc"][process_of(path)]) as channel:
        name = f"/{method.containing_service.full_name}/{method.name}"
        try:
            if method.server_streaming:
                stream: Any = channel.unary_stream(name)
                answers = stream(data, metadata=metadata, timeout=deadline_seconds())
                await answers.read()
                answers.cancel()
            else:
                unary: Any = channel.unary_unary(name)
                await unary(data, metadata=metadata, timeout=deadline_seconds())
        except grpc.aio.AioRpcError as error:
            return error.code().name, str(from_rpc_error(error).reason)
    return "OK", "OK"


@pytest.mark.parametrize("path", METHODS_WITHOUT_REBUILD)
async def test_no_number_fails_internally(stack: RunningStack, player: Player, token: str, path: str) -> None:
    for message in variants(METHODS[path].input_type, player):
        status, reason = await outcome(stack, path, message.SerializeToString(), token)
        assert status not in {"UNKNOWN", "INTERNAL"}, (reason, message)


@pytest.mark.parametrize("path", METHODS_WITHOUT_REBUILD)
async def test_bytes_that_do_not_parse_are_invalid_after_the_token(stack: RunningStack, token: str, path: str) -> None:
    for data in (b"\xff\xff\xff", b"\x0a\xff", b"\x0a\x02\xc3\x28"):
        assert await outcome(stack, path, data, "") == ("UNAUTHENTICATED", "UNAUTHENTICATED")
        status, reason = await outcome(stack, path, data, token)
        assert status not in {"UNKNOWN", "INTERNAL"}, reason


LITERALS = {
    "Int": [str(number) for number in (*INTEGERS, 2**53, "1e308")],
    "Float": ["0", "-1", "1e-9", "5e-324", "100", "1e308", "1e309", str(2**63)],
    "DateTime": [
        f'"{time}"'
        for time in (
            "0001-01-01T00:00:00Z",
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59.999Z",
            "9999-12-31T23:59:59-23:59",
            "1970-01-01T00:00:00.000000001Z",
        )
    ],
}


def documents() -> Iterator[str]:
    """Every root field with each of its numbers and times, in its arguments and input objects, as each extreme."""
    for path, field in FIELDS.items():
        for name, argument in field.args.items():
            kind = get_named_type(argument.type)
            if isinstance(kind, GraphQLInputObjectType):
                needed = {key: dummy(each.type) for key, each in kind.fields.items() if is_required_input_field(each)}
                for key, each in kind.fields.items():
                    for literal in LITERALS.get(get_named_type(each.type).name, ()):
                        fields = ", ".join(f"{k}: {v}" for k, v in (needed | {key: literal}).items())
                        yield document(path, {name: "{" + fields + "}"})
            for literal in LITERALS.get(kind.name, ()):
                yield document(path, {name: literal})


async def test_no_number_of_graphql_fails_internally(stack: RunningStack, token: str) -> None:
    async with browsing(stack.http) as web:
        client: Web = web
        for text in documents():
            response = await client.graphql(text, token=token)
            assert response.status < 500, text
            reasons = {error["extensions"]["reason"] for error in response.body.get("errors", ())}
            assert "INTERNAL" not in reasons, text


TEXTS = ("", " ", "\x00", "a\u202eb", "\ud800", "\udc00a", "\U0001f600" * 50, "A" * 2_000)


def text_arguments() -> Iterator[tuple[str, str]]:
    """A document for each text and id of a root field or its input object, as a variable, with the variable's type."""
    for path, field in FIELDS.items():
        for name, argument in field.args.items():
            kind = get_named_type(argument.type)
            if isinstance(kind, GraphQLInputObjectType):
                needed = {key: dummy(each.type) for key, each in kind.fields.items() if is_required_input_field(each)}
                for key, each in kind.fields.items():
                    if get_named_type(each.type).name in ("String", "ID") and "[" not in str(each.type):
                        fields = ", ".join(f"{k}: {v}" for k, v in (needed | {key: "$text"}).items())
                        yield document(path, {name: "{" + fields + "}"}), str(each.type)
            elif kind.name in ("String", "ID") and "[" not in str(argument.type):
                yield document(path, {name: "$text"}), str(argument.type)


async def test_no_text_of_graphql_fails_internally(stack: RunningStack, token: str) -> None:
    async with browsing(stack.http) as web:
        client: Web = web
        for text, kind in text_arguments():
            operation, _, rest = text.partition(" ")
            for value in TEXTS:
                response = await client.graphql(f"{operation} ($text: {kind}) {rest}", {"text": value}, token=token)
                assert response.status < 500, (text, ascii(value))
                reasons = {error["extensions"]["reason"] for error in response.body.get("errors", ())}
                assert "INTERNAL" not in reasons, (text, ascii(value))
