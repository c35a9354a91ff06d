"""Rooms, in which players play a quiz together: the fields for players and readers. Those for hosts are in `hosting`."""

from __future__ import annotations

from typing import Annotated

import strawberry
from topten.identity.v1 import identity_pb2
from topten.identity.v1.identity_service_pb2 import CreateGuestRequest
from topten.room.v1 import room_service_pb2 as messages

from edge.graphql.execution.context import Context, Info
from edge.graphql.fields import field, rpc
from edge.graphql.resolvers.players.sessions import opened_session
from edge.graphql.resolvers.quizzes.answers import Answer
from edge.graphql.resolvers.rooms.types import (
    TYPICAL_HOSTS,
    AnswerRoomQuestionInput,
    JoinChallenge,
    JoinedRoom,
    JoinRoomInput,
    Pin,
    Room,
    RoomAnswer,
    RoomHost,
    RoomOutcome,
    SeatCode,
)
from edge.times import time_of
from services.runtime.auth.access import EVERYBODY
from services.runtime.errors import invalid

MAX_PIN = 7
# The name of the account of a guest who joins; everybody in the room sees the one of the seat.
GUEST = "Guest"


@strawberry.type
class RoomQuery:
    @field(access=rpc("room.GetRoom"), cost=30, rate="room", description="The state of a room.")
    async def room(self, info: Info, pin: Pin) -> Room | None:
        context = info.context
        response = await context.call(context.upstreams.room.GetRoom, messages.GetRoomRequest(pin=pin))
        return Room.from_proto(response.frame)

    @field(
        access=rpc("room.GetJoinChallenge"),
        cost=30,
        rate="room",
        description="A new challenge, whose solution `joinRoom` takes for a new seat; null in a room that asks for none.",
    )
    async def join_challenge(self, info: Info, pin: Pin) -> JoinChallenge | None:
        context = info.context
        request = messages.GetJoinChallengeRequest(pin=pin)
        response = await context.call(context.upstreams.room.GetJoinChallenge, request)
        return JoinChallenge.from_proto(response.challenge) if response.HasField("challenge") else None

    @field(
        access=rpc("room.GetRoomOutcome"),
        cost=30,
        description="The caller's own place in a room: their answer to the question, and once it is revealed what it earned.",
    )
    async def my_room_outcome(self, info: Info, pin: Pin) -> RoomOutcome | None:
        context = info.context
        request = messages.GetRoomOutcomeRequest(pin=pin)
        return RoomOutcome.from_proto((await context.call(context.upstreams.room.GetRoomOutcome, request)).outcome)

    @field(
        access=rpc("room.ListRoomHosts"),
        cost=40,
        rate="room",
        size=TYPICAL_HOSTS,
        description="The hosts of a room, first the account that opened it. For its hosts.",
    )
    async def room_hosts(self, info: Info, pin: Pin) -> list[RoomHost] | None:
        context = info.context
        response = await context.call(context.upstreams.room.ListRoomHosts, messages.ListRoomHostsRequest(pin=pin))
        return [RoomHost(user_id=strawberry.ID(user_id), opened=not n) for n, user_id in enumerate(response.user_ids)]


@strawberry.type
class RoomMutation:
    @field(
        access=EVERYBODY,
        cost=200,
        rate="room",
        description="Takes a seat in a room. A player who has one gets it again, with its name and points. A caller who is "
        "not signed in becomes a guest, for some hours.",
    )
    async def join_room(self, info: Info, input: JoinRoomInput) -> JoinedRoom | None:
        context = info.context
        await _count_join(context, input.pin)
        session = None if context.caller.claims else await _guest_in(context, input)
        context.place.wait()
        token = session.access_token if session else context.caller.token()
        joined = await context.upstreams.room_joins.submit(input.to_proto(), token)
        return JoinedRoom.of(joined, rejoined=joined.rejoined, session=session and opened_session(context, session))

    @field(
        access=rpc("room.CreateSeatCode"),
        cost=200,
        rate="room",
        description="A code by which a guest comes back to their seat on another device, with `moveSeat`. It works once, "
        "within 10 minutes, and replaces an earlier one. Players with an account sign in there and join.",
    )
    async def create_seat_code(self, info: Info, pin: Pin) -> SeatCode | None:
        context = info.context
        request = messages.CreateSeatCodeRequest(pin=pin)
        response = await context.call(context.upstreams.room.CreateSeatCode, request)
        return SeatCode(code=response.code, expires_at=time_of(response.expires_at))

    @field(
        access=rpc("room.MoveSeat"),
        cost=200,
        rate="room",
        description="Takes the seat to which a code belongs, with its name, points and answers. The other device has "
        "none then.",
    )
    async def move_seat(
        self,
        info: Info,
        pin: Pin,
        code: Annotated[str, strawberry.argument(description="Spaces, hyphens and case do not matter.")],
    ) -> JoinedRoom | None:
        context = info.context
        await _count_join(context, pin)
        response = await context.call(context.upstreams.room.MoveSeat, messages.MoveSeatRequest(pin=pin, code=code))
        return JoinedRoom.of(response, rejoined=True)

    @field(
        access=rpc("room.AnswerRoomQuestion"),
        cost=200,
        rate="submit",
        description="Answers the open question of a room. The first answer stays. It counts if the server receives it at most "
        "a second after the deadline or the lock, and before the reveal.",
    )
    async def answer_room_question(self, info: Info, input: AnswerRoomQuestionInput) -> RoomAnswer | None:
        context = info.context
        context.place.wait()
        response = await context.upstreams.room_answers.submit(input.to_proto(), context.caller.token())
        return RoomAnswer(
            answer=Answer.from_proto(response.answer),
            received_at=time_of(response.received_at),
            duplicate=response.duplicate,
            action_id=input.action_id,
        )


async def _count_join(context: Context, pin: str) -> None:
    """Count a player who enters a room. Raises RATE_LIMITED."""
    if len(pin) <= MAX_PIN:
        await context.limiter.take("room_join", caller=pin)


async def _guest_in(context: Context, join: JoinRoomInput) -> identity_pb2.Session:
    """Make a guest for a room that may take one.

    Raises ROOM_NOT_FOUND, INVALID_ARGUMENT without a solution that the room asks for, RATE_LIMITED, and what identity raises.
    """
    found = await context.call_as_edge(context.upstreams.room.GetRoom, messages.GetRoomRequest(pin=join.pin))
    if found.frame.options.proof_of_work and not join.solution:
        raise invalid(
            "solution", "is required in this room; sign in with `continueAsGuest` and ask for a `joinChallenge`"
        )
    await context.limiter.take("guest", address=context.client_address)
    request = CreateGuestRequest(nickname=GUEST)
    return (await context.call_as_edge(context.upstreams.identity.CreateGuest, request)).session
