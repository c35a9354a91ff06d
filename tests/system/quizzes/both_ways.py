"""One question, asked over gRPC and over GraphQL, and what both tell, in one form."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import grpc
from google.protobuf import json_format, message_factory
from graphql import GraphQLObjectType, get_named_type

from services.cli.system.client import GraphqlClient
from services.runtime.errors import from_rpc_error
from tests.deadline import deadline_seconds
from tests.players import endpoints
from tests.servers import RunningStack
from tests.system.access.permissions import METHODS, SCHEMA
from tests.system.graphql import Web, browsing

OK: Final = "OK"
Reasons = dict[tuple[int, str, str], tuple[str, str]]
# The contract puts the name of an enum before its values.
_VALUE: Final = re.compile(
    r"(?:ROOM_PHASE|QUESTION_KIND|VERDICT|EXTRA_TIME|NICKNAME_RULE|FEEDBACK|QUIZ_STATE|ITEM_OUTCOME)_(\w+)"
)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
# Protobuf leaves out what has its default; GraphQL shows it, or null.
_NOTHING: Final[tuple[Any, ...]] = (None, "", 0, [], {})


def facts(value: Any) -> Any:
    """Return a JSON value as both say it: without what is nothing, with times as times and values without their enum."""
    if isinstance(value, Mapping):
        told = {key: facts(each) for key, each in value.items()}
        return {key: each for key, each in told.items() if each not in _NOTHING}
    if isinstance(value, list):
        return [facts(each) for each in value]
    if isinstance(value, str) and (match := _VALUE.fullmatch(value)):
        return match[1]
    if isinstance(value, str) and _TIME.fullmatch(value):
        return datetime.fromisoformat(value)
    return value


def selection(name: str, *skipped: str) -> str:
    """Return the selection of every field of a type of the schema, so that a new field is compared too."""
    kind = SCHEMA.type_map[name]
    assert isinstance(kind, GraphQLObjectType)
    fields = (
        f"{field} {selection(below.name)}" if isinstance(below, GraphQLObjectType) else field
        for field, below in ((field, get_named_type(each.type)) for field, each in kind.fields.items())
        if field not in skipped
    )
    return "{ " + " ".join(fields) + " }"


@dataclass(frozen=True)
class Told:
    """The reason of a refusal, and which fields it names with what is wrong; or OK and the facts."""

    reason: str
    facts: Any = None
    faults: Sequence[tuple[str, str]] = ()


class Refused(NamedTuple):
    """A call that is refused: who makes it, over gRPC and over GraphQL, and the reason."""

    caller: str
    method: str
    fields: dict[str, Any]
    document: str
    variables: dict[str, Any]
    reason: str


@dataclass
class BothWays:
    """Asks the quiz process over gRPC, and the edge over GraphQL."""

    channel: grpc.aio.Channel
    client: GraphqlClient
    web: Web

    async def grpc(self, name: str, token: str, fields: dict[str, Any]) -> Told:
        """Call a method. The facts of a stream are those of its responses, read to the end."""
        method = METHODS[name]
        request = json_format.ParseDict(fields, message_factory.GetMessageClass(method.input_type)())
        response: Any = message_factory.GetMessageClass(method.output_type)
        codec = {"request_serializer": type(request).SerializeToString, "response_deserializer": response.FromString}
        metadata, timeout = (("authorization", f"Bearer {token}"),) if token else (), deadline_seconds()
        path = f"/{method.containing_service.full_name}/{method.name}"
        try:
            if method.server_streaming:
                stream = self.channel.unary_stream(path, **codec)(request, metadata=metadata, timeout=timeout)
                return Told(OK, [facts(json_format.MessageToDict(each)) async for each in stream])
            answer = await self.channel.unary_unary(path, **codec)(request, metadata=metadata, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            refusal = from_rpc_error(error)
            return Told(str(refusal.reason), faults=refusal.violations)
        return Told(OK, facts(json_format.MessageToDict(answer)))

    async def graphql(self, document: str, token: str, variables: Mapping[str, Any] | None = None) -> Told:
        """Send a document with one root field."""
        body = (await self.web.graphql(document, dict(variables or {}), token)).body
        if "reason" in body.get("errors", [{}])[0].get("extensions", {}):
            told = body["errors"][0]["extensions"]
            return Told(told["reason"], faults=[(each["field"], each["detail"]) for each in told.get("errors", [])])
        (root,) = body["data"].values()
        return Told(OK, facts(root))

    async def reasons(self, refusals: Iterable[Refused], tokens: Mapping[str, str]) -> tuple[Reasons, Reasons]:
        """Return the reasons over gRPC and GraphQL of calls that are refused, and the expected ones, by call."""
        told: Reasons = {}
        expected: Reasons = {}
        for number, each in enumerate(refusals):
            token, place = tokens[each.caller], (number, each.method, each.caller)
            over_grpc = await self.grpc(each.method, token, each.fields)
            over_graphql = await self.graphql(each.document, token, each.variables)
            told[place] = over_grpc.reason, over_graphql.reason
            expected[place] = each.reason, each.reason
        return told, expected


@asynccontextmanager
async def both_ways(stack: RunningStack) -> AsyncIterator[BothWays]:
    """Open a channel to quiz and clients of the edge."""
    async with (
        endpoints(stack).channel("quiz") as channel,
        GraphqlClient(endpoints(stack).graphql) as client,
        browsing(stack.http) as web,
    ):
        yield BothWays(channel, client, web)
