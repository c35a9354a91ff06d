"""Builds the parts of rooms from the stores and services of the process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis

from services.quiz.attempts.extra_time_store import ExtraTimeStore
from services.quiz.player_lookup import PlayerLookup
from services.quiz.quizzes.quiz_store import QuizStore
from services.quiz.relay import Relay
from services.quiz.rooms.changes import RoomChanges
from services.quiz.rooms.documents import Document
from services.quiz.rooms.joining import RoomJoining
from services.quiz.rooms.personal_data import RoomPersonalData
from services.quiz.rooms.play.playing import RoomPlay
from services.quiz.rooms.play.watching import RoomWatching
from services.quiz.rooms.reading import RoomReader
from services.quiz.rooms.results.audit import RoomAudit
from services.quiz.rooms.results.board import RoomBoards
from services.quiz.rooms.results.counting import RoomCounting
from services.quiz.rooms.results.results import RoomResults
from services.quiz.rooms.room_store import RoomStore
from services.quiz.rooms.rpc import RoomServicer
from services.quiz.rooms.seats.challenges import RoomChallenges
from services.quiz.rooms.seats.moving import RoomMoving
from services.quiz.rooms.seats.nickname import ForbiddenWords
from services.quiz.rooms.seats.seat_store import SeatStore
from services.quiz.rooms.seats.seating import RoomSeating
from services.quiz.rooms.service import RoomService
from services.quiz.submissions.service import SubmissionService
from services.runtime.process.periodic import Periodic


class Rooms(NamedTuple):
    """Rooms as the process runs them."""

    rooms: RoomStore
    seats: SeatStore
    reader: RoomReader
    challenges: RoomChallenges
    service: RoomService
    seating: RoomSeating
    moving: RoomMoving
    play: RoomPlay
    watching: RoomWatching
    results: RoomResults
    boards: RoomBoards
    counting: RoomCounting
    audit: RoomAudit
    personal_data: RoomPersonalData
    servicer: RoomServicer
    servers: Sequence[Periodic]

    async def prepare(self) -> None:
        """Create the indexes. Idempotent. Raises UNAVAILABLE."""
        await self.rooms.prepare()
        await self.seats.prepare()
        await self.challenges.prepare()

    def forget(self) -> None:
        """Empty the caches, because the database holds other data now."""
        self.rooms.forget()
        self.reader.forget()


def rooms_of(
    database: AsyncDatabase[Document],
    redis: Redis,
    quizzes: QuizStore,
    submissions: SubmissionService,
    players: PlayerLookup,
    extra_times: ExtraTimeStore,
    relay: Relay,
    *,
    players_host: bool,
    forbidden_nicknames: Sequence[str],
    challenge_hashes: int,
    now: Callable[[], datetime],
) -> Rooms:
    """Return the parts of rooms. `players_host` lets players open rooms; chosen nicknames have no forbidden word.

    `challenge_hashes` is the cost of a proof of work, in rooms that take one.
    """
    rooms, seats, changes = RoomStore(database), SeatStore(database), RoomChanges(redis)
    reader = RoomReader(rooms, seats, changes, now=now)
    service = RoomService(quizzes, rooms, seats, reader, changes, players, players_host=players_host, now=now)
    challenges = RoomChallenges(database, rooms, reader, hashes=challenge_hashes, now=now)
    forbidden = ForbiddenWords(forbidden_nicknames)
    seating = RoomSeating(rooms, seats, reader, changes, players, challenges, extra_times, forbidden=forbidden, now=now)
    moving = RoomMoving(rooms, seats, reader, changes, players, now=now)
    play = RoomPlay(rooms, seats, reader, changes, now=now)
    watching = RoomWatching(rooms, seats, reader, changes, now=now)
    counting = RoomCounting(rooms, seats, reader, submissions, now=now)
    audit = RoomAudit(rooms, seats, submissions, now=now)
    results = RoomResults(rooms, seats, reader)
    boards = RoomBoards(seats, reader)
    personal_data = RoomPersonalData(rooms, seats)
    return Rooms(
        rooms=rooms,
        seats=seats,
        reader=reader,
        challenges=challenges,
        service=service,
        seating=seating,
        moving=moving,
        play=play,
        watching=watching,
        results=results,
        boards=boards,
        counting=counting,
        audit=audit,
        personal_data=personal_data,
        servicer=RoomServicer(
            service,
            challenges,
            RoomJoining(seating, play, watching),
            moving,
            play,
            watching,
            results,
            boards,
            audit,
            personal_data,
            relay,
        ),
        servers=(*changes.servers(), watching.server(), counting.server()),
    )
