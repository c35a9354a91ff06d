"""Rooms: quizzes that players play together, live, at the pace of a host."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated

import strawberry
from topten.room.v1 import room_pb2
from topten.room.v1 import room_service_pb2 as messages

from edge.graphql.execution.context import Context, Info
from edge.graphql.fields import field, rpc
from edge.graphql.resolvers.players.extra_time import ExtraTime
from edge.graphql.resolvers.quizzes.answers import Answer, AnswerInput
from edge.graphql.resolvers.rooms.types import (
    TYPICAL_EXTRA_TIMES,
    TYPICAL_HOSTS,
    TYPICAL_PLAYERS,
    AdvancedRoom,
    AdvanceRoomInput,
    JoinChallenge,
    JoinedRoom,
    OpenRoomInput,
    OptionCount,
    Room,
    RoomAnswer,
    RoomEntry,
    RoomHost,
    RoomOutcome,
    RoomQuestionResult,
    RoomResults,
    RoomResultsFile,
    RoomResultsFormat,
    SeatAttempt,
    SeatCode,
    SeatExtraTime,
)
from edge.times import time_of

MAX_PIN = 7
Pin = Annotated[strawberry.ID, strawberry.argument(description="The room's PIN: 6 or 7 digits.")]


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

    @field(access=rpc("room.GetRoomResults"), cost=100, description="The results of a room, for its hosts.")
    async def room_results(
        self, info: Info, room_id: strawberry.ID, first: int = TYPICAL_PLAYERS, after: str | None = None
    ) -> RoomResults | None:
        context = info.context
        request = messages.GetRoomResultsRequest(room_id=room_id, page_size=first, page_token=after or "")
        response = await context.call(context.upstreams.room.GetRoomResults, request)
        return RoomResults(
            questions=[
                RoomQuestionResult(
                    question_id=strawberry.ID(each.question_id),
                    text=each.text,
                    answered=each.answered,
                    right=each.right,
                    distribution=[OptionCount.from_proto(count) for count in each.distribution],
                    difficulty=each.difficulty if each.HasField("difficulty") else None,
                    discrimination=each.discrimination if each.HasField("discrimination") else None,
                )
                for each in response.questions
            ],
            players=[RoomEntry.from_proto(each) for each in response.players],
            extra_times=[SeatExtraTime.from_proto(each) for each in response.extra_times],
            attempts=[SeatAttempt.from_proto(each) for each in response.attempts],
            total_count=response.total_size,
            next=response.next_page_token or None,
        )

    @field(
        access=rpc("room.ExportRoomResults"), cost=500, description="The results of a room as a file, for its hosts."
    )
    async def room_results_file(
        self, info: Info, room_id: strawberry.ID, format: RoomResultsFormat
    ) -> RoomResultsFile | None:
        context = info.context
        request = messages.ExportRoomResultsRequest(room_id=room_id, format=format.value)
        made = await context.call(context.upstreams.room.ExportRoomResults, request)
        return RoomResultsFile(name=made.file_name, media_type=made.media_type, base64=b64encode(made.content).decode())


@strawberry.type
class RoomMutation:
    @field(
        access=rpc("room.OpenRoom"),
        cost=200,
        rate="write",
        description="Opens a room. For authors, moderators and admins; for players if the operator allows it.",
    )
    async def open_room(self, info: Info, input: OpenRoomInput) -> Room | None:
        context = info.context
        return Room.from_proto((await context.call(context.upstreams.room.OpenRoom, input.to_proto())).frame)

    @field(
        access=rpc("room.JoinRoom"),
        cost=200,
        rate="room",
        description="Takes a seat in a room. A player who has one gets it again, with its name and points.",
    )
    async def join_room(
        self,
        info: Info,
        pin: Pin,
        nickname: Annotated[
            str, strawberry.argument(description="1 to 24 characters; ignored unless players choose their names.")
        ] = "",
        solution: Annotated[
            str,
            strawberry.argument(
                description="In a room with `proofOfWork`, for a new seat: in base64 the JSON object with `algorithm`, "
                "`challenge`, `salt` and `signature` of a `joinChallenge`, and the `number` that solves it."
            ),
        ] = "",
    ) -> JoinedRoom | None:
        context = info.context
        await _count_join(context, pin)
        request = messages.JoinRoomRequest(pin=pin, nickname=nickname, solution=solution)
        context.place.wait()
        response = await context.upstreams.room_joins.submit(request, context.caller.token())
        return JoinedRoom(
            room=Room.from_proto(response.frame),
            outcome=RoomOutcome.from_proto(response.outcome),
            rejoined=response.rejoined,
        )

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
        return JoinedRoom(
            room=Room.from_proto(response.frame), outcome=RoomOutcome.from_proto(response.outcome), rejoined=True
        )

    @field(
        access=rpc("room.AddRoomHost"),
        cost=200,
        rate="write",
        description="Lets another account host the room too, with all that the first host can do. For the room's hosts.",
    )
    async def add_room_host(
        self,
        info: Info,
        pin: Pin,
        user_id: Annotated[strawberry.ID, strawberry.argument(description="The account's ID.")],
    ) -> Room | None:
        context = info.context
        request = messages.AddRoomHostRequest(pin=pin, user_id=user_id)
        return Room.from_proto((await context.call(context.upstreams.room.AddRoomHost, request)).frame)

    @field(
        access=rpc("room.RemoveRoomHost"),
        cost=200,
        rate="write",
        description="Takes the room from a host, but not from the account that opened it. For the room's hosts, who may "
        "remove themselves.",
    )
    async def remove_room_host(
        self,
        info: Info,
        pin: Pin,
        user_id: Annotated[strawberry.ID, strawberry.argument(description="The account's ID.")],
    ) -> Room | None:
        context = info.context
        request = messages.RemoveRoomHostRequest(pin=pin, user_id=user_id)
        return Room.from_proto((await context.call(context.upstreams.room.RemoveRoomHost, request)).frame)

    @field(
        access=rpc("room.AnswerRoomQuestion"),
        cost=200,
        rate="submit",
        description="Answers the open question of a room. The first answer stays. It counts if the server receives it at most "
        "a second after the deadline or the lock, and before the reveal.",
    )
    async def answer_room_question(self, info: Info, pin: Pin, answer: AnswerInput) -> RoomAnswer | None:
        context = info.context
        request = messages.AnswerRoomQuestionRequest(pin=pin, answer=answer.to_proto())
        context.place.wait()
        response = await context.upstreams.room_answers.submit(request, context.caller.token())
        return RoomAnswer(
            answer=Answer.from_proto(response.answer),
            received_at=time_of(response.received_at),
            duplicate=response.duplicate,
        )

    @field(
        access=rpc("room.AdvanceRoom"),
        cost=200,
        rate="write",
        description="Carries out a host's command. Of two at once the first wins, and the other gets the state.",
    )
    async def advance_room(self, info: Info, input: AdvanceRoomInput) -> AdvancedRoom | None:
        context = info.context
        context.place.wait()  # a room full of players waits for it
        request = messages.AdvanceRoomRequest(
            pin=input.pin,
            command=input.command.value,
            expected_revision=input.expected_revision,
            command_id=input.command_id,
            seconds=input.seconds,
        )
        response = await context.call(context.upstreams.room.AdvanceRoom, request)
        return AdvancedRoom(room=Room.from_proto(response.frame), applied=response.applied)

    @field(
        access=rpc("room.LockRoom"),
        cost=200,
        rate="write",
        description="Closes a room for new players, or opens it again. For its hosts.",
    )
    async def lock_room(self, info: Info, pin: Pin, locked: bool) -> Room | None:
        context = info.context
        request = messages.LockRoomRequest(pin=pin, locked=locked)
        return Room.from_proto((await context.call(context.upstreams.room.LockRoom, request)).frame)

    @field(
        access=rpc("room.KickFromRoom"),
        cost=200,
        rate="write",
        description="Removes a player with their answers; they cannot join the room again. For its hosts.",
    )
    async def kick_from_room(self, info: Info, pin: Pin, seat_id: strawberry.ID) -> Room | None:
        context = info.context
        request = messages.KickFromRoomRequest(pin=pin, seat_id=seat_id)
        return Room.from_proto((await context.call(context.upstreams.room.KickFromRoom, request)).frame)

    @field(
        access=rpc("room.SetExtraTime"),
        cost=200,
        rate="write",
        size=TYPICAL_EXTRA_TIMES,
        description="Gives a player more time for this question and the later ones, and returns all seats with extra time. "
        "For the hosts; other players do not see it.",
    )
    async def set_extra_time(
        self, info: Info, pin: Pin, seat_id: strawberry.ID, extra_time: ExtraTime
    ) -> list[SeatExtraTime] | None:
        context = info.context
        given = room_pb2.ExtraTime.Value(f"EXTRA_TIME_{extra_time.name}")
        request = messages.SetExtraTimeRequest(pin=pin, seat_id=seat_id, extra_time=given)
        response = await context.call(context.upstreams.room.SetExtraTime, request)
        return [SeatExtraTime.from_proto(each) for each in response.extra_times]


async def _count_join(context: Context, pin: str) -> None:
    """Count a player who enters a room. Raises RATE_LIMITED."""
    if len(pin) <= MAX_PIN:
        await context.limiter.take("room_join", caller=pin)
