"""What hosts do in rooms: open them, lead them from step to step, and look after their players."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

import strawberry
from topten.room.v1 import room_pb2
from topten.room.v1 import room_service_pb2 as messages

from edge.graphql.execution.context import Info
from edge.graphql.fields import field, rpc
from edge.graphql.resolvers.players.extra_time import ExtraTime
from edge.graphql.resolvers.rooms.types import (
    TYPICAL_EXTRA_TIMES,
    AdvancedRoom,
    OpenRoomInput,
    Pin,
    Room,
    SeatExtraTime,
)

ExpectedVersion = Annotated[
    int | None,
    strawberry.argument(
        description="The `version` that the host saw: if the room has moved on since, nothing happens. By default the phase "
        "counts that the server finds."
    ),
]
CommandId = Annotated[
    strawberry.ID | None,
    strawberry.argument(
        description="A UUID made by the client. A command is carried out once under its ID, however often it is sent."
    ),
]
UserId = Annotated[strawberry.ID, strawberry.argument(description="The account's ID.")]


def _command(description: str) -> Any:
    """Declare a command that takes the room to another revision. Of two at once the first wins, the other gets the state."""
    return field(access=rpc("room.AdvanceRoom"), cost=200, rate="write", description=f"{description} For its hosts.")


@strawberry.type
class HostMutation:
    @field(
        access=rpc("room.OpenRoom"),
        cost=200,
        rate="write",
        description="Opens a room. For authors, moderators and admins; for players if the operator allows it.",
    )
    async def open_room(self, info: Info, input: OpenRoomInput) -> Room | None:
        context = info.context
        return Room.from_proto((await context.call(context.upstreams.room.OpenRoom, input.to_proto())).frame)

    @_command("Asks the first question of a room; in the phase LOBBY.")
    async def start_room(
        self, info: Info, pin: Pin, expected_version: ExpectedVersion = None, command_id: CommandId = None
    ) -> AdvancedRoom | None:
        return await _advance(info, room_pb2.ROOM_COMMAND_START, pin, expected_version, command_id)

    @_command(
        "Takes a room to its next phase: LOBBY, QUESTION, LOCKED, REVEAL, BOARD, then the next QUESTION or the PODIUM, ENDED."
    )
    async def next_step(
        self, info: Info, pin: Pin, expected_version: ExpectedVersion = None, command_id: CommandId = None
    ) -> AdvancedRoom | None:
        return await _advance(info, room_pb2.ROOM_COMMAND_NEXT, pin, expected_version, command_id)

    @_command("Takes a room one phase back, from BOARD to REVEAL or from PODIUM to BOARD.")
    async def previous_step(
        self, info: Info, pin: Pin, expected_version: ExpectedVersion = None, command_id: CommandId = None
    ) -> AdvancedRoom | None:
        return await _advance(info, room_pb2.ROOM_COMMAND_BACK, pin, expected_version, command_id)

    @_command("Locks the open question of a room: it takes no more answers, but for those within a second.")
    async def lock_question(
        self, info: Info, pin: Pin, expected_version: ExpectedVersion = None, command_id: CommandId = None
    ) -> AdvancedRoom | None:
        return await _advance(info, room_pb2.ROOM_COMMAND_LOCK, pin, expected_version, command_id)

    @_command("Moves the deadline of the open question of a room.")
    async def extend_question(
        self,
        info: Info,
        pin: Pin,
        seconds: Annotated[int, strawberry.argument(description="1 to 600.")],
        expected_version: ExpectedVersion = None,
        command_id: CommandId = None,
    ) -> AdvancedRoom | None:
        return await _advance(info, room_pb2.ROOM_COMMAND_EXTEND, pin, expected_version, command_id, seconds)

    @_command("Shows the right answer to the question of a room, whether it is locked or still open.")
    async def reveal(
        self, info: Info, pin: Pin, expected_version: ExpectedVersion = None, command_id: CommandId = None
    ) -> AdvancedRoom | None:
        return await _advance(info, room_pb2.ROOM_COMMAND_REVEAL, pin, expected_version, command_id)

    @_command("Lets the board of a room stand still as it is until the podium, or go on.")
    async def freeze_board(
        self,
        info: Info,
        pin: Pin,
        frozen: Annotated[bool, strawberry.argument(description="False to let it go on.")] = True,
        expected_version: ExpectedVersion = None,
        command_id: CommandId = None,
    ) -> AdvancedRoom | None:
        command = room_pb2.ROOM_COMMAND_FREEZE if frozen else room_pb2.ROOM_COMMAND_UNFREEZE
        return await _advance(info, command, pin, expected_version, command_id)

    @_command("Ends a room, in any phase.")
    async def close_room(
        self, info: Info, pin: Pin, expected_version: ExpectedVersion = None, command_id: CommandId = None
    ) -> AdvancedRoom | None:
        return await _advance(info, room_pb2.ROOM_COMMAND_END, pin, expected_version, command_id)

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
    async def kick_player(self, info: Info, pin: Pin, seat_id: strawberry.ID) -> Room | None:
        context = info.context
        request = messages.KickFromRoomRequest(pin=pin, seat_id=seat_id)
        return Room.from_proto((await context.call(context.upstreams.room.KickFromRoom, request)).frame)

    @field(
        access=rpc("room.SetExtraTime"),
        cost=200,
        rate="write",
        size=TYPICAL_EXTRA_TIMES,
        description="Gives a player more time for this question and the later ones, full points, or both, and returns all "
        "seats with some. For the hosts; other players do not see it.",
    )
    async def set_extra_time(
        self,
        info: Info,
        pin: Pin,
        seat_id: strawberry.ID,
        extra_time: ExtraTime,
        full_points: Annotated[
            bool,
            strawberry.argument(
                description="Whether speed points do not fall for the player: a right answer within their time earns all "
                "of its points. Answers that are recorded already keep theirs."
            ),
        ] = False,
    ) -> list[SeatExtraTime] | None:
        context = info.context
        given = room_pb2.ExtraTime.Value(f"EXTRA_TIME_{extra_time.name}")
        request = messages.SetExtraTimeRequest(pin=pin, seat_id=seat_id, extra_time=given, full_points=full_points)
        response = await context.call(context.upstreams.room.SetExtraTime, request)
        return [SeatExtraTime.from_proto(each) for each in response.extra_times]

    @field(
        access=rpc("room.AddRoomHost"),
        cost=200,
        rate="write",
        description="Lets another account host the room too, with all that the first host can do. For the room's hosts.",
    )
    async def add_room_host(self, info: Info, pin: Pin, user_id: UserId) -> Room | None:
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
    async def remove_room_host(self, info: Info, pin: Pin, user_id: UserId) -> Room | None:
        context = info.context
        request = messages.RemoveRoomHostRequest(pin=pin, user_id=user_id)
        return Room.from_proto((await context.call(context.upstreams.room.RemoveRoomHost, request)).frame)


async def _advance(
    info: Info,
    command: room_pb2.RoomCommand.ValueType,
    pin: str,
    expected_version: int | None,
    command_id: str | None,
    seconds: int = 0,
) -> AdvancedRoom:
    context = info.context
    context.place.wait()  # a room full of players waits for it
    request = messages.AdvanceRoomRequest(
        pin=pin,
        command=command,
        expected_revision=expected_version or 0,
        command_id=command_id or str(uuid.uuid4()),
        seconds=seconds,
    )
    response = await context.call(context.upstreams.room.AdvanceRoom, request)
    return AdvancedRoom(room=Room.from_proto(response.frame), applied=response.applied)
