"""The shortest call of any method and any root field."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    get_named_type,
    is_required_argument,
    is_required_input_field,
)

from services.runtime.errors import from_rpc_error
from tests.deadline import deadline_seconds
from tests.servers import RunningStack
from tests.system.access.permissions import FIELDS


async def called(stack: RunningStack, name: str, method: MethodDescriptor, fields: Any, token: str) -> str:
    """Call a method: the reason it fails with, or OK. Of a stream the first response counts; a rebuild runs to its end."""
    request = json_format.ParseDict(fields, message_factory.GetMessageClass(method.input_type)())
    response: Any = message_factory.GetMessageClass(method.output_type)
    codec = {"request_serializer": type(request).SerializeToString, "response_deserializer": response.FromString}
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    path = f"/{method.containing_service.full_name}/{method.name}"
    async with grpc.aio.insecure_channel(stack.endpoints["grpc"][name]) as channel:
        try:
            if method.server_streaming:
                stream = channel.unary_stream(path, **codec)(request, metadata=metadata, timeout=deadline_seconds())
                while await stream.read() is not grpc.aio.EOF and method.name == "RebuildBoards":
                    pass
                stream.cancel()
            else:
                await channel.unary_unary(path, **codec)(request, metadata=metadata, timeout=deadline_seconds())
        except grpc.aio.AioRpcError as error:
            return str(from_rpc_error(error).reason)
    return "OK"


def dummy(kind: Any) -> str:
    """The shortest literal of an input type."""
    named = get_named_type(kind)
    if isinstance(kind.of_type if isinstance(kind, GraphQLNonNull) else kind, GraphQLList):
        return "[]"
    if isinstance(named, GraphQLEnumType):
        return str(next(iter(named.values)))
    if isinstance(named, GraphQLInputObjectType):
        needed = (f"{name}: {dummy(each.type)}" for name, each in named.fields.items() if is_required_input_field(each))
        return "{" + ", ".join(needed) + "}"
    return {"Int": "1", "Float": "1.0", "Boolean": "true", "DateTime": '"2026-11-23T20:00:00Z"'}.get(named.name, '"x"')


def document(path: str, given: dict[str, str]) -> str:
    """A document with one root field, its required arguments and those given."""
    kind, name = path.split(".")
    field = FIELDS[path]
    needed = {key: dummy(each.type) for key, each in field.args.items() if is_required_argument(each)} | given
    arguments = f"({', '.join(f'{key}: {value}' for key, value in needed.items())})" if needed else ""
    below = " { __typename }" if isinstance(get_named_type(field.type), GraphQLObjectType) else ""
    return f"{kind.lower()} {{ {name}{arguments}{below} }}"
