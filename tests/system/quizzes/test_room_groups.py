"""Groups of joins and answers of rooms, sent to quiz as an edge sends them: each is decided and recorded on its own."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from topten.quiz.v1.quiz_pb2 import Answer
from topten.room.v1 import room_pb2
from topten.room.v1 import room_service_pb2 as messages
from topten.room.v1.room_service_pb2_grpc import RoomServiceStub

from services.cli.rooms import solved
from services.cli.system.client import GraphqlClient
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
    from topten.room.v1.room_service_pb2_grpc import RoomServiceAsyncStub


@dataclass
class Edge:
    """Sends groups as an edge does, and leads rooms."""

    stub: RoomServiceAsyncStub
    issuer: TokenIssuer
    host: str

    def token(self) -> str:
        return self.issuer.service_token("edge", frozenset({"service"}), frozenset({"action:relay"}), utc_now())

    async def open(self, quiz_id: str, **options: Any) -> str:
        request = messages.OpenRoomRequest(quiz_id=quiz_id, options=room_pb2.RoomOptions(**options))
        return (await call(self.stub.OpenRoom, request, token=self.host)).frame.pin

    async def solution(self, player: Player, pin: str) -> str:
        request = messages.GetJoinChallengeRequest(pin=pin)
        challenge = (await call(self.stub.GetJoinChallenge, request, token=player.access_token)).challenge
        return solved(MessageToDict(challenge))

    async def next(self, pin: str, revision: int) -> room_pb2.RoomFrame:
        request = messages.AdvanceRoomRequest(
            pin=pin,
            command=room_pb2.ROOM_COMMAND_NEXT,
            expected_revision=revision,
            command_id=str(uuid.uuid4()),
        )
        return (await call(self.stub.AdvanceRoom, request, token=self.host)).frame

    async def join(self, *joins: messages.RelayedJoin) -> messages.JoinRoomGroupResponse:
        request = messages.JoinRoomGroupRequest(joins=joins)
        return await call(self.stub.JoinRoomGroup, request, token=self.token(), timeout=deadline_seconds())

    async def answer(self, *answers: messages.RelayedRoomAnswer) -> list[messages.RelayedRoomAnswerResult]:
        request = messages.AnswerRoomQuestionGroupRequest(answers=answers)
        sent = call(self.stub.AnswerRoomQuestionGroup, request, token=self.token(), timeout=deadline_seconds())
        return list((await sent).results)


@pytest_asyncio.fixture
async def edge(stack: RunningStack) -> AsyncIterator[Edge]:
    pem = (stack.data / "secrets" / "signing_key.pem").read_text()
    issuer = TokenIssuer(pem, issuer="topten", audience="topten", access_ttl=timedelta(minutes=10))
    async with GraphqlClient(endpoints(stack).graphql) as client:
        host = await client.login(*endpoints(stack).moderator())
    async with endpoints(stack).channel("quiz") as channel:
        yield Edge(cast("RoomServiceAsyncStub", RoomServiceStub(channel)), issuer, host)


@pytest_asyncio.fixture
async def players(stack: RunningStack) -> AsyncIterator[list[Player]]:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        yield [await register(client) for _ in range(3)]


def joining(player: Player, pin: str, nickname: str, **changes: Any) -> messages.RelayedJoin:
    """A request for a seat; `changes` are fields of the relayed message."""
    request = messages.JoinRoomRequest(pin=pin, nickname=nickname)
    fields: dict[str, Any] = {"access_token": player.access_token, "join": request}
    return messages.RelayedJoin(**fields | changes)


def answering(player: Player, pin: str, option: str = "a", **changes: Any) -> messages.RelayedRoomAnswer:
    """An answer to the first question; `changes` are fields of the relayed message."""
    answer = Answer(question_id="q1", selected_option=option) if option else Answer(question_id="q1")
    request = messages.AnswerRoomQuestionRequest(pin=pin, answer=answer)
    fields: dict[str, Any] = {"access_token": player.access_token, "answer": request}
    return messages.RelayedRoomAnswer(**fields | changes)


def reason(error: bytes) -> str:
    info = ErrorInfo()
    assert Status.FromString(error).details[0].Unpack(info)
    return str(info.reason)


async def test_each_of_a_group_of_joins_is_decided_on_its_own(
    stack: RunningStack, edge: Edge, players: list[Player]
) -> None:
    ada, ben, cem = players
    await import_quiz(endpoints(stack), quiz_definition(quiz_id := unique("room-group-")))
    pin, other = await edge.open(quiz_id), await edge.open(quiz_id, max_players=1)
    group = [
        joining(ada, pin, "Ada"),
        joining(ben, pin, "ADA"),
        joining(cem, pin, "Cem", access_token="nonsense"),
        joining(cem, "12", "Cem"),
        joining(cem, "9999999", "Cem"),
        joining(cem, pin, "Cem", time_left=Duration()),
        joining(ada, pin, "Again"),
        joining(ben, other, "Ben"),
        joining(cem, other, "Cem"),
    ]
    response = await edge.join(*group)
    outcomes = [
        (each.response.outcome.nickname, each.response.rejoined, response.frames[each.frame].pin)
        if each.HasField("response")
        else reason(each.error)
        for each in response.results
    ]
    assert outcomes == [
        ("Ada", False, pin),
        "NICKNAME_TAKEN",
        "UNAUTHENTICATED",
        "INVALID_ARGUMENT",
        "ROOM_NOT_FOUND",
        "UNAVAILABLE",
        ("Ada", True, pin),
        ("Ben", False, other),
        "ROOM_CLOSED",
    ]
    # The state that the group returns has its players; no room is sent twice.
    assert sorted((frame.pin, frame.players) for frame in response.frames) == sorted([(pin, 1), (other, 1)])


async def test_a_solution_gives_one_seat_alone_and_in_a_group(
    stack: RunningStack, edge: Edge, players: list[Player]
) -> None:
    ada, ben, cem = players
    await import_quiz(endpoints(stack), quiz_definition(quiz_id := unique("room-group-")))
    pin, open_to_all = await edge.open(quiz_id, proof_of_work=True), await edge.open(quiz_id)
    first, second = await edge.solution(ada, pin), await edge.solution(ben, pin)
    with pytest.raises(ServiceError) as refusal:
        await call(edge.stub.JoinRoom, messages.JoinRoomRequest(pin=pin, nickname="Ada"), token=ada.access_token)
    assert (refusal.value.reason, refusal.value.violations[0][0]) == (Reason.INVALID_ARGUMENT, "solution")
    alone = messages.JoinRoomRequest(pin=pin, nickname="Ada", solution=first)
    assert not (await call(edge.stub.JoinRoom, alone, token=ada.access_token)).rejoined
    response = await edge.join(
        joining(ada, pin, "Ada"),
        joining(ben, pin, "Ben"),
        joining(ben, pin, "Ben", join=messages.JoinRoomRequest(pin=pin, nickname="Ben", solution=first)),
        joining(ben, pin, "Ben", join=messages.JoinRoomRequest(pin=pin, nickname="Ben", solution=second)),
        joining(cem, pin, "Cem", join=messages.JoinRoomRequest(pin=pin, nickname="Cem", solution=first)),
        joining(cem, open_to_all, "Cem"),
    )
    outcomes = [
        each.response.rejoined if each.HasField("response") else reason(each.error) for each in response.results
    ]
    assert outcomes == [True, "INVALID_ARGUMENT", "INVALID_ARGUMENT", False, "INVALID_ARGUMENT", False]
    assert [(frame.pin, frame.players) for frame in response.frames if frame.pin == pin] == [(pin, 2)]


async def test_each_answer_of_a_group_counts_once_from_when_its_edge_had_it(
    stack: RunningStack, edge: Edge, players: list[Player]
) -> None:
    ada, ben, cem = players
    await import_quiz(endpoints(stack), quiz_definition(quiz_id := unique("room-group-")))
    pin = await edge.open(quiz_id)
    await edge.join(joining(ada, pin, "Ada"), joining(ben, pin, "Ben"))
    asked = await edge.next(pin, 1)
    held = Duration(seconds=3)
    now = utc_now()
    results = await edge.answer(
        answering(ada, pin),
        answering(ben, pin, held=held),
        answering(ada, pin, "b"),
        answering(cem, pin),
        answering(ben, pin, ""),
        answering(ben, pin, access_token="nonsense"),
        answering(ben, "9999999"),
        answering(ben, pin, time_left=Duration()),
    )
    recorded = [each.response for each in results[:3]]
    assert [(each.answer.selected_option, each.duplicate) for each in recorded] == [
        ("a", False),
        ("a", False),
        ("a", True),
    ]
    # Held for three seconds: received that much earlier than the rest of the group.
    assert recorded[0].received_at.ToDatetime(now.tzinfo) >= now
    apart = recorded[0].received_at.ToMilliseconds() - recorded[1].received_at.ToMilliseconds()
    assert apart == 3000
    assert [reason(each.error) for each in results[3:]] == [
        "PLAYER_NOT_FOUND",
        "INVALID_ARGUMENT",
        "UNAUTHENTICATED",
        "ROOM_NOT_FOUND",
        "UNAVAILABLE",
    ]
    locked = await edge.next(pin, asked.revision)
    assert (await edge.next(pin, locked.revision)).answered == 2


async def test_a_group_needs_more_than_the_token_of_a_player(edge: Edge, players: list[Player]) -> None:
    joins = messages.JoinRoomGroupRequest(joins=[joining(players[0], "123456", "Ada")])
    answers = messages.AnswerRoomQuestionGroupRequest(answers=[answering(players[0], "123456")])
    for token in (players[0].access_token, edge.host):
        for method, request in ((edge.stub.JoinRoomGroup, joins), (edge.stub.AnswerRoomQuestionGroup, answers)):
            with pytest.raises(ServiceError) as caught:
                await call(cast("Any", method), cast("Any", request), token=token)
            assert caught.value.reason is Reason.PERMISSION_DENIED
