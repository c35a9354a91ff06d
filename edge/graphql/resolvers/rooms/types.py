"""The types of rooms: their options, their state, and a player's own place."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Self

import strawberry
from topten.quiz.v1.quiz_pb2 import VERDICT_UNSPECIFIED
from topten.room.v1 import room_pb2
from topten.room.v1 import room_service_pb2 as messages

from edge.graphql.execution.context import Info
from edge.graphql.fields import field
from edge.graphql.resolvers.players.extra_time import ExtraTime
from edge.graphql.resolvers.quizzes.answers import Answer, GivenAnswerInput
from edge.graphql.resolvers.quizzes.quizzes import Question, Verdict
from edge.graphql.resolvers.types import Session, User, account
from edge.qr_codes import qr_svg
from edge.times import time_of

if TYPE_CHECKING:
    from edge.room_kinds import JoinedSeat

PIN = "The room's PIN: 6 or 7 digits."
Pin = Annotated[strawberry.ID, strawberry.argument(description=PIN)]
TYPICAL_OPTIONS = 4
TYPICAL_BOARD = 10
TYPICAL_LOBBY = 25
TYPICAL_EXTRA_TIMES = 10
TYPICAL_HOSTS = 2


@strawberry.enum(
    description="Where a room is. LOBBY: players join. QUESTION: answers are taken. LOCKED: no more. REVEAL: the key is "
    "shown. BOARD, PODIUM: the standings. ENDED: nothing happens any more."
)
class RoomPhase(Enum):
    LOBBY = room_pb2.ROOM_PHASE_LOBBY
    QUESTION = room_pb2.ROOM_PHASE_QUESTION
    LOCKED = room_pb2.ROOM_PHASE_LOCKED
    REVEAL = room_pb2.ROOM_PHASE_REVEAL
    BOARD = room_pb2.ROOM_PHASE_BOARD
    PODIUM = room_pb2.ROOM_PHASE_PODIUM
    ENDED = room_pb2.ROOM_PHASE_ENDED


@strawberry.enum(
    description="Where the names in a room come from: players choose them, the server generates them, or they are usernames "
    "and guests stay out."
)
class NicknameRule(Enum):
    CHOSEN = room_pb2.NICKNAME_RULE_CHOSEN
    GENERATED = room_pb2.NICKNAME_RULE_GENERATED
    USERNAME = room_pb2.NICKNAME_RULE_USERNAME


@strawberry.input(description="How a room plays.")
class RoomOptionsInput:
    seconds_per_question: int = strawberry.field(default=0, description="Up to 600; 0 leaves the time to the host.")
    lock_when_all_answered: bool = strawberry.field(
        default=False, description="Whether a question locks as soon as all players have answered."
    )
    speed_points: bool = strawberry.field(
        default=False,
        description="Whether answers earn less the later the server receives them: nothing less for a second, then 2.5 % a "
        "second, down to half; more slowly where the time is longer than 21 s.",
    )
    frozen_questions: int = strawberry.field(
        default=0,
        description="For how many last questions the board stands still until the podium; up to 100. See `freezeBoard`.",
    )
    max_players: int = strawberry.field(default=0, description="Up to 5000; 0 is 200.")
    nicknames: NicknameRule | None = strawberry.field(default=None, description="CHOSEN by default.")
    counts_on_boards: bool = strawberry.field(
        default=False,
        description="Whether each account's answers are an attempt at the quiz when the room ends. Those of guests never are. "
        "Refused unless the quiz says `roomsCountOnBoards`, and for a timed quiz.",
    )
    proof_of_work: bool = strawberry.field(
        default=False,
        description="Whether a device solves a `joinChallenge` before its player gets a new seat. A price for floods of "
        "players, in computing time; no proof of who joins.",
    )
    co_hosts: list[strawberry.ID] = strawberry.field(
        default_factory=list, description="Accounts that may host the room too; up to 10."
    )

    def to_proto(self) -> room_pb2.RoomOptions:
        return room_pb2.RoomOptions(
            seconds_per_question=self.seconds_per_question,
            lock_when_all_answered=self.lock_when_all_answered,
            speed_points=self.speed_points,
            frozen_questions=self.frozen_questions,
            max_players=self.max_players,
            nicknames=(self.nicknames or NicknameRule.CHOSEN).value,
            counts_on_boards=self.counts_on_boards,
            proof_of_work=self.proof_of_work,
            co_hosts=self.co_hosts,
        )


@strawberry.input(description="A room to open.")
class OpenRoomInput:
    quiz_id: strawberry.ID
    options: RoomOptionsInput | None = None

    def to_proto(self) -> messages.OpenRoomRequest:
        options = self.options or RoomOptionsInput()
        return messages.OpenRoomRequest(quiz_id=self.quiz_id, options=options.to_proto())


@strawberry.input(description="A seat to take.")
class JoinRoomInput:
    pin: strawberry.ID = strawberry.field(description=PIN)
    nickname: str = strawberry.field(
        default="", description="1 to 24 characters; ignored unless players choose their names."
    )
    solution: str = strawberry.field(
        default="",
        description="In a room with `proofOfWork`, for a new seat: in base64 the JSON object with `algorithm`, `challenge`, "
        "`salt` and `signature` of a `joinChallenge`, and the `number` that solves it.",
    )

    def to_proto(self) -> messages.JoinRoomRequest:
        return messages.JoinRoomRequest(pin=self.pin, nickname=self.nickname, solution=self.solution)


@strawberry.input(description="The answer to the open question of a room.")
class AnswerRoomQuestionInput:
    pin: strawberry.ID = strawberry.field(description=PIN)
    question_id: strawberry.ID
    answer: GivenAnswerInput
    action_id: strawberry.ID | None = strawberry.field(
        default=None,
        description="A UUID made by the client, which the response repeats. It decides nothing: the first answer to a "
        "question stays.",
    )

    def to_proto(self) -> messages.AnswerRoomQuestionRequest:
        return messages.AnswerRoomQuestionRequest(pin=self.pin, answer=self.answer.to_question(self.question_id))


@strawberry.type(description="How many players selected an option.")
class OptionCount:
    option_id: strawberry.ID
    count: int

    @classmethod
    def from_proto(cls, count: room_pb2.OptionCount) -> Self:
        return cls(option_id=strawberry.ID(count.option_id), count=count.count)


@strawberry.type(description="A player's line on the board of a room. Players with equal points share a rank.")
class RoomEntry:
    rank: int
    seat_id: strawberry.ID
    nickname: str
    points: int

    @classmethod
    def from_proto(cls, entry: room_pb2.RoomEntry) -> Self:
        return cls(rank=entry.rank, seat_id=strawberry.ID(entry.seat_id), nickname=entry.nickname, points=entry.points)


@strawberry.type(description="A player in the lobby.")
class RoomPlayer:
    seat_id: strawberry.ID = strawberry.field(description="The host removes the player by this ID.")
    nickname: str


@strawberry.type(description="A room as everybody in it sees it.")
class Room:
    room_id: strawberry.ID
    pin: str = strawberry.field(description="The number by which players find the room.")
    version: int = strawberry.field(
        description="Counts the transitions of the room, from 1: what its hosts do, what is due at a time, and guests who "
        "move to another device. While it stays, so does every `RoomOutcome`, but for the answer to the open question."
    )
    phase: RoomPhase
    title: str = strawberry.field(description="The title of the quiz.")
    question_number: int = strawberry.field(description="From 1; 0 in the lobby.")
    question_count: int
    question: Question | None = strawberry.field(description="While it is open, locked or revealed.")
    asked_at: datetime | None
    deadline: datetime | None = strawberry.field(
        description="When the question locks for players without extra time; null at the host's pace. The phase changes when "
        "everybody's time is over."
    )
    players: int
    answered: int = strawberry.field(description="How many players have answered the question.")
    right_answer: Answer | None = strawberry.field(description="In the phase REVEAL only.")
    explanation: str | None = strawberry.field(description="In the phase REVEAL only.")
    distribution: list[OptionCount] = field(size=TYPICAL_OPTIONS, description="In the phase REVEAL only.")
    board: list[RoomEntry] = field(size=TYPICAL_BOARD, description="The best 10, in the phases BOARD to ENDED.")
    frozen: bool = strawberry.field(description="Whether the board stands still until the podium.")
    newest_players: list[RoomPlayer] = field(
        size=TYPICAL_LOBBY, description="In the lobby: who joined last, newest first, at most 50."
    )
    joining_locked: bool = strawberry.field(description="Whether the host has closed the room for new players.")
    nicknames: NicknameRule = strawberry.field(description="Where the names of its players come from.")
    proof_of_work: bool = strawberry.field(description="Whether a new seat takes the solution of a `joinChallenge`.")

    @field(description="Where players join, at the address under which the caller knows the server.")
    def join_url(self, info: Info) -> str:
        return f"{info.context.origin}/j/{self.pin}"

    @field(cost=10, description="A QR code of `joinUrl`: an SVG element with a title, dark on light, that scales.")
    def qr_svg(self, info: Info) -> str:
        return qr_svg(self.join_url(info), title=f"QR code of the room {self.pin}")

    @classmethod
    def from_proto(cls, frame: room_pb2.RoomFrame) -> Self:
        return cls(
            room_id=strawberry.ID(frame.room_id),
            pin=frame.pin,
            version=frame.revision,
            phase=RoomPhase(frame.phase),
            title=frame.title,
            question_number=frame.question_number,
            question_count=frame.question_count,
            question=Question.from_proto(frame.question) if frame.HasField("question") else None,
            asked_at=time_of(frame.asked_at) if frame.HasField("asked_at") else None,
            deadline=time_of(frame.deadline) if frame.HasField("deadline") else None,
            players=frame.players,
            answered=frame.answered,
            right_answer=Answer.from_proto(frame.right_answer) if frame.HasField("right_answer") else None,
            explanation=frame.explanation or None,
            distribution=[OptionCount.from_proto(each) for each in frame.distribution],
            board=[RoomEntry.from_proto(each) for each in frame.board],
            frozen=frame.frozen,
            newest_players=[
                RoomPlayer(seat_id=strawberry.ID(each.seat_id), nickname=each.nickname) for each in frame.newest_players
            ],
            joining_locked=frame.joining_locked,
            nicknames=NicknameRule(frame.options.nicknames or NicknameRule.CHOSEN.value),
            proof_of_work=frame.options.proof_of_work,
        )


@strawberry.type(description="The caller's own place in a room.")
class RoomOutcome:
    seat_id: strawberry.ID
    nickname: str
    answer: Answer | None = strawberry.field(description="To the current question; null if there is none.")
    verdict: Verdict | None = strawberry.field(description="Null before the reveal, and without an answer.")
    points_awarded: int = strawberry.field(description="For the answer; 0 before the reveal.")
    points: int = strawberry.field(description="On the board.")
    rank: int | None = strawberry.field(description="On the board; null before the first one.")
    extra_time: ExtraTime = strawberry.field(
        description="Given by the host, or brought by the player; other players do not see it."
    )
    full_points: bool = strawberry.field(
        description="Whether speed points do not fall for the caller, by a decision of a host; other players do not see it."
    )
    deadline: datetime | None = strawberry.field(
        description="When the open question locks for the caller; null without a limit and while no question is open."
    )

    @classmethod
    def from_proto(cls, outcome: room_pb2.RoomOutcome) -> Self:
        return cls(
            seat_id=strawberry.ID(outcome.seat_id),
            nickname=outcome.nickname,
            answer=Answer.from_proto(outcome.answer) if outcome.HasField("answer") else None,
            verdict=Verdict(outcome.verdict) if outcome.verdict != VERDICT_UNSPECIFIED else None,
            points_awarded=outcome.points_awarded,
            points=outcome.points,
            rank=outcome.rank if outcome.HasField("rank") else None,
            extra_time=ExtraTime(outcome.extra_time),
            full_points=outcome.full_points,
            deadline=time_of(outcome.deadline) if outcome.HasField("deadline") else None,
        )


@strawberry.type(
    description="A challenge of Altcha, version 1: find the number from 0 to `maxNumber` for which the SHA-256 of `salt` and "
    "the number, in decimal digits, is `challenge`."
)
class JoinChallenge:
    algorithm: str = strawberry.field(description="Always SHA-256.")
    challenge: str = strawberry.field(description="The digest, in hexadecimal digits.")
    max_number: int
    salt: str
    signature: str = strawberry.field(description="By which the server knows its own challenges.")
    expires_at: datetime = strawberry.field(description="Until when `joinRoom` takes the solution.")

    @classmethod
    def from_proto(cls, challenge: room_pb2.JoinChallenge) -> Self:
        return cls(
            algorithm=challenge.algorithm,
            challenge=challenge.challenge,
            max_number=challenge.max_number,
            salt=challenge.salt,
            signature=challenge.signature,
            expires_at=time_of(challenge.expires_at),
        )


@strawberry.type(
    description="A seat in a room. For a caller who was not signed in it has the session of a guest, as `continueAsGuest` "
    "has; for others `user` and the tokens are null."
)
class JoinedRoom:
    room: Room
    outcome: RoomOutcome
    rejoined: bool = strawberry.field(description="True if the caller had the seat before.")
    access_token: str | None = strawberry.field(description="As in `Session`.")
    refresh_token: str | None = strawberry.field(description="As in `Session`.")
    expires_in: int | None = strawberry.field(description="As in `Session`.")
    user: User | None = strawberry.field(description="The guest.")

    @classmethod
    def of(
        cls, response: JoinedSeat | messages.MoveSeatResponse, *, rejoined: bool, session: Session | None = None
    ) -> Self:
        return cls(
            room=Room.from_proto(response.frame),
            outcome=RoomOutcome.from_proto(response.outcome),
            rejoined=rejoined,
            access_token=None if session is None else session.access_token,
            refresh_token=None if session is None else session.refresh_token,
            expires_in=None if session is None else session.expires_in,
            user=None if session is None else session.user,
        )


@strawberry.type(description="A code that moves a seat to another device, once.")
class SeatCode:
    code: str = strawberry.field(description="8 letters and digits. Show it to its player alone.")
    expires_at: datetime


@strawberry.type(description="The effect of a host's command.")
class AdvancedRoom:
    room: Room
    applied: bool = strawberry.field(
        description="True if the command was carried out, now or before; false if the room had moved on meanwhile."
    )


@strawberry.type(description="A recorded answer.")
class RoomAnswer:
    answer: Answer = strawberry.field(description="The player's first answer to the question, which stays.")
    received_at: datetime
    duplicate: bool = strawberry.field(description="True if it was recorded before.")
    action_id: strawberry.ID | None = strawberry.field(description="The `actionId` of this request.")


@strawberry.type(description="A seat with extra time or full points.")
class SeatExtraTime:
    seat_id: strawberry.ID
    extra_time: ExtraTime
    full_points: bool = strawberry.field(description="Whether speed points do not fall for the seat.")

    @classmethod
    def from_proto(cls, each: room_pb2.SeatExtraTime) -> Self:
        return cls(
            seat_id=strawberry.ID(each.seat_id), extra_time=ExtraTime(each.extra_time), full_points=each.full_points
        )


@strawberry.type(description="An account that hosts a room.")
class RoomHost:
    user_id: strawberry.ID
    opened: bool = strawberry.field(description="Whether the account opened the room, and so stays its host.")

    @field(cost=10, description="The account; null after its erasure.")
    async def user(self, info: Info) -> User | None:
        return await account(info, self.user_id)
