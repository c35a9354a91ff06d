"""Rooms as Server-Sent Events: the `Room` of the GraphQL schema, encoded once for everybody, and the `RoomOutcome`. Pure."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from topten.room.v1 import room_pb2
from topten.room.v1.room_pb2 import RoomFrame

from edge.graphql.resolvers.rooms.types import Room, RoomOutcome
from edge.stream.frames import Message, encode_event
from edge.times import format_time
from services.runtime.errors import Reason


def encode_room(frame: RoomFrame, *, stale: bool = False) -> Message:
    """Encode the `state` event: the fields of `Room` but `joinUrl` and `qrSvg`, and `stale` while the room cannot be read.

    The phase is in lower case. Its id is `<version>-<changes>`, which orders the states of a room.
    """
    room = Room.from_proto(frame)
    data = _plain(room) | {"phase": room.phase.name.lower(), "stale": stale}
    return Message.of(encode_event("state", data, id=f"{frame.revision}-{frame.changes}"))


def encode_outcome(version: int, outcome: room_pb2.RoomOutcome) -> Message:
    """Encode the `me` event: the fields of `RoomOutcome`, and the `version` of the room to which they belong.

    It has no id, because the id of an event is that of a state.
    """
    return Message.of(encode_event("me", {"version": version} | _plain(RoomOutcome.from_proto(outcome))))


def encode_room_end(reason: Reason) -> Message:
    """Encode the `end` event, the last one of a player who may see the room no more, and why."""
    return Message.of(encode_event("end", {"reason": reason}))


def _plain(value: Any) -> Any:
    """Return a value of the schema as JSON has it."""
    if is_dataclass(value):
        # Fields with a resolver depend on the caller, and no initializer takes them.
        return {_camel_case(each.name): _plain(getattr(value, each.name)) for each in fields(value) if each.init}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, datetime):
        return format_time(value)
    return value


def _camel_case(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)
