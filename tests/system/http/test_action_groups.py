"""Actions of several players in one call: each has its own token, bounds, deadline, result and error."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from topten.action.v1 import action_pb2
from topten.action.v1.action_service_pb2 import PutActionTypeRequest, RelayedAction, SubmitActionGroupRequest
from topten.action.v1.action_service_pb2_grpc import ActionServiceStub
from topten.quiz.v1 import quiz_pb2, quiz_service_pb2
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub

from services.cli.system.client import GraphqlClient
from services.identity.accounts import Account
from services.identity.tokens import TokenIssuer
from services.runtime.clock import utc_now
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call
from tests.deadline import deadline_seconds
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import Player, endpoints, register
from tests.servers import RunningStack, unique

if TYPE_CHECKING:
    from topten.action.v1.action_service_pb2_grpc import ActionServiceAsyncStub
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub


@dataclass
class Edge:
    """Sends groups as an edge does."""

    stub: QuizServiceAsyncStub
    actions: ActionServiceAsyncStub
    issuer: TokenIssuer

    def token(self) -> str:
        return self.issuer.service_token("edge", frozenset({"service"}), frozenset({"action:relay"}), utc_now())

    async def submit(self, *actions: quiz_service_pb2.RelayedAction) -> list[quiz_service_pb2.RelayedResult]:
        request = quiz_service_pb2.SubmitActionGroupRequest(actions=actions)
        return list(
            (await call(self.stub.SubmitActionGroup, request, token=self.token(), timeout=deadline_seconds())).results
        )


@pytest_asyncio.fixture
async def edge(stack: RunningStack) -> AsyncIterator[Edge]:
    pem = (stack.data / "secrets" / "signing_key.pem").read_text()
    issuer = TokenIssuer(pem, issuer="topten", audience="topten", access_ttl=timedelta(minutes=10))
    async with endpoints(stack).channel("quiz") as channel:
        stubs = QuizServiceStub(channel), ActionServiceStub(channel)
        yield Edge(cast("QuizServiceAsyncStub", stubs[0]), cast("ActionServiceAsyncStub", stubs[1]), issuer)


@pytest_asyncio.fixture
async def players(stack: RunningStack) -> AsyncIterator[list[Player]]:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        yield [await register(client) for _ in range(4)]


def relayed(player: Player, quiz_id: str, answers: str = "aa", **changes: Any) -> quiz_service_pb2.RelayedAction:
    """An action with an option for each question; `changes` are fields of the relayed action or of its request."""
    now = Timestamp()
    now.GetCurrentTime()
    given = [quiz_pb2.Answer(question_id=f"q{i}", selected_option=each) for i, each in enumerate(answers, 1)]
    action = {"quiz_id": quiz_id, "action_id": str(uuid.uuid4()), "answers": given, "timestamp": now}
    relay = {"access_token": player.access_token}
    for name, value in changes.items():
        (action if name in action else relay)[name] = value
    return quiz_service_pb2.RelayedAction(action=quiz_service_pb2.SubmitActionRequest(**action), **relay)  # type: ignore[arg-type]  # named by field


def account(player: Player) -> Account:
    return Account(player.user_id, player.username, "", frozenset({"player"}), "VN", utc_now())


def outcome(result: quiz_service_pb2.RelayedResult) -> str:
    """The reason of an error, or OK."""
    if result.WhichOneof("outcome") == "response":
        return "OK"
    info = error_details_pb2.ErrorInfo()
    status_pb2.Status.FromString(result.error).details[0].Unpack(info)
    return str(info.reason)


async def test_a_refusal_in_a_group_harms_no_other_action(
    stack: RunningStack, edge: Edge, players: list[Player]
) -> None:
    quiz_id = unique("group-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM))
    ada, ben, cem, dua = players
    recorded = relayed(ada, quiz_id)
    assert [outcome(each) for each in await edge.submit(recorded)] == ["OK"]
    expired = edge.issuer.access_token(account(cem), "", utc_now() - timedelta(hours=1))
    changed = relayed(ada, quiz_id, "bb", action_id=recorded.action.action_id)
    results = await edge.submit(
        relayed(ben, quiz_id),
        relayed(cem, quiz_id, access_token="nonsense"),
        relayed(cem, quiz_id, access_token=expired),
        relayed(cem, quiz_id, action_id="no uuid"),
        recorded,
        changed,
        relayed(cem, unique("no-such-quiz-")),
        relayed(cem, quiz_id, time_left=Duration()),
        relayed(cem, quiz_id, timestamp=Timestamp(seconds=1)),
        relayed(dua, quiz_id, "ab"),
    )
    assert [outcome(each) for each in results] == [
        "OK",
        "UNAUTHENTICATED",
        "UNAUTHENTICATED",
        "INVALID_ARGUMENT",
        "OK",
        "ACTION_ID_CONFLICT",
        "QUIZ_NOT_FOUND",
        "UNAVAILABLE",
        "TIMESTAMP_OUT_OF_WINDOW",
        "OK",
    ]
    assert [results[i].response.points_awarded for i in (0, 4, 9)] == [20, 20, 10]
    assert [results[i].response.duplicate for i in (0, 4, 9)] == [False, True, False]


async def test_actions_of_types_travel_like_answers(edge: Edge, players: list[Player]) -> None:
    walk = unique("walk-")
    definition = action_pb2.ActionType(
        action_type_id=walk,
        title="Walk",
        submitters=action_pb2.ActionType.PLAYERS,
        rule=action_pb2.Rule(per_unit=action_pb2.PerUnitRule(points_per_unit=2, max_units=9)),
    )
    admin = edge.issuer.service_token("operator", frozenset({"service", "admin"}), frozenset(), utc_now())
    await call(edge.actions.PutActionType, PutActionTypeRequest(action_type=definition), token=admin)

    def relayed(player: Player, quantity: int = 3, **changes: Any) -> RelayedAction:
        action = action_pb2.PlayerAction(
            action_type_id=changes.pop("action_type_id", walk), action_id=str(uuid.uuid4()), quantity=quantity
        )
        fields: dict[str, Any] = {"access_token": player.access_token, "action": action}
        return RelayedAction(**fields | changes)

    ada, ben, cem, dua = players
    first, someone = relayed(ada), action_pb2.Player(user_id=ada.user_id)
    foreign = relayed(cem)
    foreign.action.player.CopyFrom(someone)
    other = relayed(ada, 4)
    other.action.action_id = first.action.action_id
    group = [
        first,
        relayed(ben, 9),
        relayed(cem, access_token="nonsense"),
        relayed(cem, 10),
        foreign,
        first,
        other,
        relayed(cem, action_type_id=unique("no-such-type-")),
        relayed(cem, time_left=Duration()),
        relayed(cem, client=quiz_pb2.Client(ip="1" * 65)),
        relayed(dua, 1),
    ]
    request = SubmitActionGroupRequest(actions=group)
    response = await call(edge.actions.SubmitActionGroup, request, token=edge.token(), timeout=deadline_seconds())
    assert [each.reason or each.points_awarded for each in response.results] == [
        6,
        18,
        "UNAUTHENTICATED",
        "INVALID_ARGUMENT",
        "PERMISSION_DENIED",
        6,
        "ACTION_ID_CONFLICT",
        "ACTION_TYPE_NOT_FOUND",
        "UNAVAILABLE",
        "INVALID_ARGUMENT",
        2,
    ]
    assert [each.status == action_pb2.ActionResult.DUPLICATE for each in response.results].index(True) == 5
    with pytest.raises(ServiceError) as caught:
        await call(edge.actions.SubmitActionGroup, request, token=ada.access_token)
    assert caught.value.reason is Reason.PERMISSION_DENIED


async def test_a_group_needs_more_than_the_token_of_a_player(edge: Edge, players: list[Player]) -> None:
    group = quiz_service_pb2.SubmitActionGroupRequest(actions=[relayed(players[0], "solar-system")])
    for token in (players[0].access_token, edge.issuer.service_token("x", frozenset(), frozenset(), utc_now())):
        with pytest.raises(ServiceError) as caught:
            await call(edge.stub.SubmitActionGroup, group, token=token)
        assert caught.value.reason is Reason.PERMISSION_DENIED
