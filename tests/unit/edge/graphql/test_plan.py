"""Plans of operations answer as graphql-core's executor does: the same bytes from the same calls, for any document."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.symbol_database import Default
from graphql import (
    ArgumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    NameNode,
    OperationDefinitionNode,
    StringValueNode,
    TypeInfo,
    TypeInfoVisitor,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    parse,
    parse_type,
    print_ast,
    value_from_ast_untyped,
    visit,
)
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis_graphql import from_schema
from structlog.testing import capture_logs
from topten.action.v1.action_pb2 import ActionResult
from topten.action.v1.action_service_pb2 import SubmitActionsRequest
from topten.identity.v1.identity_service_pb2 import GetUsersRequest, GetUsersResponse
from topten.leaderboard.v1.leaderboard_pb2 import Frame
from topten.leaderboard.v1.leaderboard_service_pb2 import GetLeaderboardRequest

from edge.graphql.execution import operations
from edge.graphql.execution.context import Context
from edge.graphql.execution.cost import Limits
from edge.graphql.execution.last_responses import LastResponses
from edge.graphql.execution.operations import execute_operation
from edge.graphql.execution.plan import Plan
from edge.graphql.execution.prepared import DocumentError, Prepared, prepare
from edge.graphql.execution.requests import GraphQLRequest
from edge.graphql.execution.responses import outcome_of
from edge.graphql.schema import SDL_PATH, executable_schema
from edge.http.callers.authentication import ANONYMOUS, Caller
from edge.http.page import PAGE_DOCUMENTS
from services.runtime.admission import Admission, Place
from services.runtime.auth.access import PLAYER, SCOPES
from services.runtime.auth.claims import Claims
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.call_context import begin_call
from tests.players import SUBMIT, TOP
from tests.properties import examples

SCHEMA = executable_schema()
# With which the upstreams answer `EVERYTHING` without an error.
SEED = 48
LIMITS = Limits(depth=60, fields=10_000, cost=10**9, tokens=20_000)
TIMES = st.sampled_from(["2026-11-23T20:15:42.007Z", "2026-11-23", "no time", ""])
DOCUMENTS = from_schema(
    SDL_PATH.read_text(), custom_scalars={"DateTime": TIMES.map(lambda text: StringValueNode(value=text))}
)
NAMES = ("", "all", "weekly:2026-W47", "country:VN", "Ada", "8c6a0c1e-6a6b-4b0c-9d0f-0f3f1d1f0a11")
RANDOM_ID = re.compile(rb"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}")
CALLERS = [ANONYMOUS] + [
    Caller(Claims("u1", "Ada", roles, "VN", "s1", "access", 9e9, frozenset(SCOPES)), "token")
    for roles in (PLAYER, frozenset({"player", "moderator", "admin"}))
]


EVERYTHING = """query ($first: Int!, $board: BoardInput) {
  __typename
  me { ...Names score rank(board: $board) }
  head: getLeaderboard(board: {kind: WEEKLY}, limit: 2) { rank user { username country } }
  leaderboard(board: $board, first: $first) {
    edges { cursor node { rank rank score } } me { rank user { userId } } ... on LeaderboardConnection { totalCount }
  }
}
fragment Names on Me { name: username roles }"""


class OneResponse:
    """A streaming call that ends after one response."""

    def __init__(self, response: Awaitable[Message]) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[Message]:
        yield await self._response

    def cancel(self) -> None: ...


class Upstreams:
    """Every service: answers each request with the same arbitrary message or error of its method, in any order of calls."""

    def __init__(self, seed: int, failures: float) -> None:
        self.calls: Counter[bytes] = Counter()
        self._seed = seed
        self._failures = failures
        self.service_token = SimpleNamespace(get=self._token)

    def __getattr__(self, name: str) -> Any:
        """The stub of a service, and a method of it."""
        if name == "breaker":
            raise AttributeError
        return self._stream if name == "RejudgeQuiz" else self

    def _stream(self, request: Message, **_metadata: Any) -> Any:
        return OneResponse(self(request))

    async def __call__(self, request: Message, **_metadata: Any) -> Message:
        if isinstance(request, GetUsersRequest):
            return self._users(request)
        key = request.DESCRIPTOR.full_name.encode() + request.SerializeToString(deterministic=True)
        key = RANDOM_ID.sub(b"", key)
        self.calls[key] += 1
        chance = random.Random(key + bytes(self._seed))
        if chance.random() < self._failures:
            raise ServiceError(chance.choice(list(Reason)), "no", violations=[("quiz_id", "is odd")])
        response: Message = Default().GetSymbol(request.DESCRIPTOR.full_name.removesuffix("Request") + "Response")()
        fill(response, chance)
        return response

    def _users(self, request: GetUsersRequest) -> GetUsersResponse:
        """Answer for each player alone: which players share a call depends on the turns of the event loop."""
        response = GetUsersResponse()
        for user_id in request.user_ids:
            self.calls[b"user " + user_id.encode()] += 1
            chance = random.Random(f"{user_id} {self._seed}")
            if chance.random() < 0.8:
                fill(response.users.add(), chance).user_id = user_id
        if random.Random(self._seed).random() < self._failures:
            raise ServiceError(Reason.UNAVAILABLE, "no")
        return response

    def held(self, board: str, limit: int, *, stale: bool = False) -> Frame | None:
        chance = random.Random(f"{board} {limit} {stale} {self._seed}")
        return fill(Frame(), chance) if chance.random() < 0.5 else None

    def is_public(self, board: str) -> bool:
        """Whether everybody may read a board."""
        return not board.startswith("custom:")

    is_same_for_all = is_public

    async def head(self, board: str, limit: int) -> Frame:
        """Read the head of a board."""
        response: Any = await self(GetLeaderboardRequest(board=board, limit=limit))
        frame: Frame = response.frame
        return frame

    async def _token(self) -> str:
        return "own"

    async def submit(self, request: Message, _token: str) -> Any:
        """Submit an action, of whichever kind."""
        response: Any = await self(request)
        if isinstance(request, SubmitActionsRequest):
            return response.results[0] if response.results else ActionResult()
        return response


def fill(message: Any, chance: random.Random, depth: int = 0) -> Any:
    """Set most fields of a message to values of which most are in order."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() < 0.1 or depth > 6:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        if field.is_repeated:
            if field.message_type is not None:
                for _ in range(2):
                    fill(getattr(message, field.name).add(), chance, depth + 1)
            else:
                getattr(message, field.name).extend([value(field, chance), value(field, chance)])
        elif field.message_type is not None:
            each = getattr(message, field.name)
            each.SetInParent()
            if field.message_type.full_name == "google.protobuf.Timestamp":
                each.seconds = chance.randrange(2**31)
            else:
                fill(each, chance, depth + 1)
        else:
            setattr(message, field.name, value(field, chance))
    return message


def value(field: FieldDescriptor, chance: random.Random) -> Any:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        text = chance.choice(NAMES)
        return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return chance.random() < 0.5
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return chance.choice([0.0, 12.5, 99.9, float("nan")])
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return chance.randrange(3)  # also of no name
    is_long = kind in (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
    return chance.choice([0, 1, 7, 2**31 - 1, 2**40 if is_long else 5])


class Outliner(Visitor):
    """Moves arguments of a document to variables and selections to fragments, some of each."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.variables: dict[str, Any] = {}
        self.definitions: list[Any] = []
        self._chance = chance
        self._types = TypeInfo(SCHEMA)
        self._declared: list[VariableDefinitionNode] = []

    def outlined(self, text: str) -> str:
        document = visit(parse(text), TypeInfoVisitor(self._types, self))
        return "\n".join(print_ast(node) for node in (*document.definitions, *self.definitions))

    def enter_argument(self, node: ArgumentNode, *_: Any) -> Any:
        if self._chance.random() < 0.5:
            return None
        name, kind = f"v{len(self.variables)}", self._types.get_input_type()
        given = value_from_ast_untyped(node.value)
        self.variables[name] = self._chance.choice([None, 5, "x", {}, []]) if self._chance.random() < 0.05 else given
        if self._chance.random() < 0.05:
            del self.variables[name]
            self.variables[f"{name}x"] = given
        self._declared.append(
            VariableDefinitionNode(
                variable=VariableNode(name=NameNode(value=name)), type=parse_type(str(kind)), directives=()
            )
        )
        return ArgumentNode(name=node.name, value=VariableNode(name=NameNode(value=name)))

    def leave_field(self, node: FieldNode, *_: Any) -> Any:
        parent = self._types.get_parent_type()
        if parent is None or parent.name in ("Query", "Mutation") or self._chance.random() < 0.8:
            return None
        name = f"F{len(self.definitions)}"
        fragment = parse(f"fragment {name} on {parent.name} {{ {print_ast(node)} }}").definitions[0]
        assert isinstance(fragment, FragmentDefinitionNode)
        self.definitions.append(fragment)
        return FragmentSpreadNode(name=NameNode(value=name), directives=())

    def leave_operation_definition(self, node: OperationDefinitionNode, *_: Any) -> Any:
        return OperationDefinitionNode(
            operation=node.operation,
            name=node.name,
            variable_definitions=tuple(self._declared),
            directives=(),
            selection_set=node.selection_set,
        )


class Executed:
    """One execution: what the client reads, which calls were made, and what else is left of it."""

    def __init__(self, body: bytes, upstreams: Upstreams, context: Context, accepted: list[Any]) -> None:
        self.body = body
        self.upstreams = upstreams
        self.rest = upstreams.calls, context.stale, context.board_reads, accepted


async def _existing(name: str, _client: str) -> Any:
    return SimpleNamespace(name=name)


async def _allowed(*_arguments: Any) -> None:
    """Every board is readable and public."""


BOARDS: Any = SimpleNamespace(find=_existing, require_readable=_allowed, require_public=_allowed)


async def executed(
    prepared: Prepared, variables: dict[str, Any], caller: Caller, seed: int, failures: float
) -> Executed:
    upstreams, accepted = Upstreams(seed, failures), []

    async def nothing(*_arguments: Any, **_options: Any) -> None:
        return None

    limiter: Any = SimpleNamespace(take=nothing, note=nothing, is_noted=nothing)
    context = Context(
        upstreams, caller, "192.0.2.1", "test", limiter, upstreams, BOARDS, LastResponses(),  # type: ignore[arg-type]  # `Upstreams` of this module
        lambda *action: accepted.append(action), Place(Admission("test", limit=1)), "https://play.example",
    )  # fmt: skip
    begin_call("request")
    with capture_logs():
        result = await execute_operation(
            SCHEMA, prepared, GraphQLRequest(variables=variables), context, hide_suggestions=True
        )
        return Executed(outcome_of(result, stale=context.stale).body, upstreams, context, accepted)


def ordered(body: bytes) -> bytes:
    """A response with its errors in the order of their paths; fields that are resolved together fail in any order."""
    response = orjson.loads(body)
    if "errors" in response:
        response["errors"].sort(key=lambda error: str(error.get("path")))
    return orjson.dumps(response)


async def both(text: str, variables: dict[str, Any], caller: Caller, seed: int = 0, failures: float = 0.0) -> Executed:
    """Execute by the executor and by the plan; return what they have in common."""
    prepared = prepare(text, "", SCHEMA, LIMITS, introspection=True)
    first = await executed(prepared, variables, caller, seed, failures)  # the first use has no plan
    second = await executed(prepared, variables, caller, seed, failures)
    assert ordered(second.body) == ordered(first.body)
    assert second.rest == first.rest
    return second


@given(
    document=DOCUMENTS,
    caller=st.sampled_from(CALLERS[1:] * 3 + CALLERS[:1]),
    seed=st.integers(0, 1000),
    failures=st.sampled_from([0.0, 0.2]),
)
@settings(examples(60), suppress_health_check=list(HealthCheck))
async def test_a_plan_answers_as_the_executor_does(document: str, caller: Caller, seed: int, failures: float) -> None:
    outliner = Outliner(random.Random(seed))
    text = outliner.outlined(document)
    try:
        await both(text, outliner.variables, caller, seed, failures)
    except DocumentError:
        assume(False)


@pytest.mark.parametrize("text", [*json.loads(PAGE_DOCUMENTS.read_text()).values(), SUBMIT, TOP, EVERYTHING])
def test_what_clients_send_has_a_plan(text: str) -> None:
    document = parse(text)
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode):
            Plan(SCHEMA, document, node)


async def test_a_plan_needs_no_executor_unless_something_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare(EVERYTHING, "", SCHEMA, LIMITS, introspection=False)
    variables = {"first": 2, "board": {"kind": "ALL"}}
    expected = await executed(prepared, variables, CALLERS[2], SEED, 0.0)
    monkeypatch.setattr(operations, "execute", None)
    assert (await executed(prepared, variables, CALLERS[2], SEED, 0.0)).body == expected.body
    assert b"errors" not in expected.body


@pytest.mark.parametrize("user_id", ["u1", 7, 7.5, None, ...])
@pytest.mark.parametrize("radius", [2, 2.0, "2", True, 2**31, None, ...])
async def test_variables_are_read_as_the_executor_reads_them(user_id: Any, radius: Any) -> None:
    text = """query ($user: ID!, $radius: Int = 3, $also: ID = "u3") {
      ranks(userIds: [$user, "u2", $also]) { notFound }
      aroundPlayer(userId: $user, radius: $radius, board: {kind: QUIZ, quizId: $also}) { notFound entries { score } }
    }"""
    given = {"user": user_id, "radius": radius, "also": "u4", "unknown": 1}
    await both(text, {name: each for name, each in given.items() if each is not ...}, CALLERS[1], SEED)


async def test_the_mutations_of_a_document_are_executed_once_and_in_order_though_one_fails() -> None:
    text = """mutation ($id: ID!) {
      first: unblockUser(input: {userId: $id, reason: "a"}) { __typename }
      submitQuizAction(input: {quizId: "q", actionId: "a", answers: [], timestamp: "2026-11-23"}) { pointsAwarded }
      none: unblockUser(input: {userId: "", reason: "b"}) { __typename }
      last: unblockUser(input: {userId: $id, reason: "c"}) { __typename }
    }"""
    for seed in range(20):
        done = await both(text, {"id": "u2"}, CALLERS[2], seed, failures=0.5)
        unblocked = {call: count for call, count in done.upstreams.calls.items() if b"UnblockUser" in call}
        assert set(unblocked.values()) == {1}
        assert len(unblocked) == 3
