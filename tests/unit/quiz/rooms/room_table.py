"""Rooms as their hosts and players use them, on real stores and by several replicas."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from topten.room.v1 import room_pb2

from services.cli.rooms import solved
from services.quiz.attempts.extra_time_store import ExtraTimeStore
from services.quiz.player_lookup import PlayerLookup
from services.quiz.questions.answers import selected
from services.quiz.rooms.room import Options, Phase, Room
from services.quiz.rooms.seats.challenge import Challenge
from services.quiz.rooms.seats.seating import Seated, SeatRequest
from services.quiz.rooms.transitions import Command
from services.quiz.rooms.wiring import Rooms, rooms_of
from services.runtime.auth.claims import Claims
from services.runtime.clock import utc_now
from services.runtime.config.settings import RedisConfig
from services.runtime.errors import ServiceError
from services.runtime.stores.redis import open_redis
from tests.factories import quiz_definition
from tests.servers import unique
from tests.unit.quiz.conftest import Open, Replica

SECOND = timedelta(seconds=1)
QUESTIONS = 3
HASHES = 100


def claims(user_id: str, *roles: str) -> Claims:
    return Claims(user_id, user_id, frozenset(roles or {"player"}), "VN", "s", "access", 2e9)


HOST = claims("hal", "player", "author")


class Clock:
    """The server's time, which tests move."""

    def __init__(self) -> None:
        self.now = utc_now().replace(microsecond=0)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Game:
    """A room from the view of its host and its players, by one replica."""

    rooms: Rooms
    clock: Clock
    pin: str
    room_id: str

    async def room(self) -> Room:
        return (await self.rooms.reader.current(self.room_id)).room

    async def join(self, *names: str) -> list[str]:
        """Join players under names that are theirs alone, and return the ids of their seats."""
        joined = await asyncio.gather(*(take_seat(self.rooms, claims(name), self.pin, f"The {name}") for name in names))
        return [seat.seat_id for seat, _, _ in joined]

    async def command(self, command: Command, expected: int = 0, command_id: str = "", host: Claims = HOST) -> bool:
        """Send a command at the current revision, or at an expected one; return whether it was carried out."""
        expected = expected or (await self.room()).revision
        sent = command_id or str(uuid.uuid4())
        extension = timedelta(seconds=30)
        _, applied = await self.rooms.service.advance(host, self.pin, command, expected, sent, extension)
        return applied

    async def until(self, phase: Phase) -> None:
        while (await self.room()).phase is not phase:
            assert await self.command(Command.NEXT)

    async def answer(self, name: str, question: str, option: str = "a") -> str:
        """Answer; return the recorded option, with `again` if it was recorded before, or the reason of the refusal."""
        try:
            answer, existed = await self.rooms.play.answer(claims(name), self.pin, selected(question, option))
        except ServiceError as error:
            return str(error.reason)
        (recorded,) = answer.answer.values
        return f"{recorded} again" if existed else recorded

    async def frame(self) -> room_pb2.RoomFrame:
        return await self.rooms.watching.current(self.pin)

    async def board(self) -> dict[str, int]:
        return {entry.nickname: entry.points for entry in (await self.frame()).board}


@dataclass
class Table:
    """Opens rooms on one replica of quiz, and gives other replicas of rooms."""

    replica: Replica
    redis: Redis
    clock: Clock

    def other(self, **settings: bool) -> Rooms:
        """Another replica on the same stores, with nothing in memory."""
        return rooms_of(
            self.replica.database,
            self.redis,
            self.replica.quizzes,
            self.replica.service,
            PlayerLookup(cast("Any", self.replica.identity), cast("Any", self.replica.identity), now=self.clock),
            ExtraTimeStore(self.replica.database),
            # Only the server of a process relays.
            cast("Any", None),
            players_host=settings.get("players_host", False),
            forbidden_nicknames=["rude word"],
            challenge_hashes=HASHES,
            now=self.clock,
        )

    async def open(self, **options: Any) -> Game:
        quiz_id = unique("quiz-")
        definition = quiz_definition(quiz_id, questions=QUESTIONS)
        definition.rooms_count_on_boards = True
        await self.replica.quizzes.put_quiz(definition, utc_now())
        rooms = self.other()
        await rooms.prepare()
        snapshot = await rooms.service.open(HOST, quiz_id, Options(**options), ["cora"])
        return Game(rooms, self.clock, snapshot.room.pin, snapshot.room.room_id)

    def elsewhere(self, game: Game) -> Game:
        """The same room by another replica."""
        return Game(self.other(), self.clock, game.pin, game.room_id)


@pytest.fixture
async def table(open_replica: Open, redis_url: str) -> AsyncIterator[Table]:
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(open_redis(RedisConfig(url=redis_url), "rooms"))
        yield Table(await open_replica(), redis, Clock())


async def take_seat(rooms: Rooms, player: Claims, pin: str, nickname: str, solution: str = "") -> Seated:
    """Give one player a seat; raise the refusal."""
    (outcome,) = await rooms.seating.join_all([SeatRequest(pin, player, nickname, solution=solution)])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def solution_of(challenge: Challenge) -> str:
    """The solution of a challenge, as JoinRoom takes it."""
    return solved({**challenge._asdict(), "maxNumber": challenge.max_number})


async def refused(call: Awaitable[Any]) -> str:
    with pytest.raises(ServiceError) as refusal:
        await call
    return str(refusal.value.reason)
