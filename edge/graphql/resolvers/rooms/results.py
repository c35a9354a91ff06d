"""The results of rooms, for their hosts: read in pages, or as a file."""

from __future__ import annotations

from base64 import b64encode
from enum import Enum
from typing import Self

import strawberry
from topten.room.v1 import room_pb2
from topten.room.v1 import room_service_pb2 as messages

from edge.graphql.execution.context import Info
from edge.graphql.fields import field, rpc
from edge.graphql.resolvers.rooms.types import (
    TYPICAL_EXTRA_TIMES,
    TYPICAL_OPTIONS,
    OptionCount,
    RoomEntry,
    SeatExtraTime,
)

TYPICAL_QUESTIONS = 10
TYPICAL_PLAYERS = 100


@strawberry.type(description="How well a question of a room was known.")
class RoomQuestionResult:
    question_id: strawberry.ID
    text: str = strawberry.field(description="The question, as the players saw it.")
    answered: int
    right: int
    distribution: list[OptionCount] = field(size=TYPICAL_OPTIONS)
    difficulty: float | None = strawberry.field(description="The share of right answers; null without answers.")
    discrimination: float | None = strawberry.field(
        description="The share of right answers in the better half of the players minus that in the other half; null with too "
        "few answers."
    )


@strawberry.enum(
    description="How results are written. XLSX has a sheet of players and one of questions, a file of CSV one table. Text is "
    "never a formula: in CSV an apostrophe stands before what looks like one."
)
class RoomResultsFormat(Enum):
    JSON = room_pb2.ROOM_RESULTS_FORMAT_JSON
    XLSX = room_pb2.ROOM_RESULTS_FORMAT_XLSX
    PLAYERS_CSV = room_pb2.ROOM_RESULTS_FORMAT_PLAYERS_CSV
    QUESTIONS_CSV = room_pb2.ROOM_RESULTS_FORMAT_QUESTIONS_CSV


@strawberry.type(description="A file to save.")
class RoomResultsFile:
    name: str
    media_type: str
    base64: str = strawberry.field(description="The content.")


@strawberry.type(description="The outcome of a player's answers as an attempt at the quiz.")
class SeatAttempt:
    seat_id: strawberry.ID
    counted: bool
    refusal: str | None = strawberry.field(description="The reason, such as ATTEMPTS_EXHAUSTED; null if it counts.")

    @classmethod
    def from_proto(cls, each: room_pb2.SeatAttempt) -> Self:
        return cls(seat_id=strawberry.ID(each.seat_id), counted=each.counted, refusal=each.refusal or None)


@strawberry.type(description="The results of a room.")
class RoomResults:
    questions: list[RoomQuestionResult] = field(size=TYPICAL_QUESTIONS, description="Those that were revealed.")
    players: list[RoomEntry] = field(size=TYPICAL_PLAYERS, description="A page of players, by rank.")
    extra_times: list[SeatExtraTime] = field(
        size=TYPICAL_EXTRA_TIMES, description="The seats with extra time or full points."
    )
    attempts: list[SeatAttempt] = field(
        size=TYPICAL_PLAYERS,
        description="Of the players of this page, in rooms that count on boards; empty until the room is counted.",
    )
    total_count: int
    next: str | None = strawberry.field(description="Pass it as `after` to get the next page; null on the last page.")


@strawberry.type
class RoomResultsQuery:
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
