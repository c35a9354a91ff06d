"""The use cases of hosts: open a room, and carry out commands."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog

from services.quiz.quizzes.quiz import Quiz, from_definition
from services.quiz.quizzes.quiz_cache import quiz_not_found
from services.quiz.rooms.room import Options, Phase, Room, Snapshot
from services.quiz.rooms.room_store import MAX_EXTRA_TIMES, Transition
from services.quiz.rooms.seats.challenge import new_key
from services.quiz.rooms.transitions import About, Command, CommandError, advanced
from services.runtime.auth.access import HOSTS, STAFF
from services.runtime.errors import Reason, ServiceError, invalid

if TYPE_CHECKING:
    from services.quiz.attempts.extra_time import ExtraTime
    from services.quiz.player_lookup import PlayerLookup
    from services.quiz.quizzes.quiz_store import QuizStore
    from services.quiz.rooms.changes import RoomChanges
    from services.quiz.rooms.reading import RoomReader
    from services.quiz.rooms.room_store import RoomStore
    from services.quiz.rooms.seats.seat_store import SeatStore
    from services.runtime.auth.claims import Claims

MAX_HOSTS: Final = 11
_log = structlog.get_logger("rooms")


class RoomService:
    """Opens rooms and leads them. Hosts are the account that opened the room, its co-hosts, moderators and admins."""

    def __init__(
        self,
        quizzes: QuizStore,
        rooms: RoomStore,
        seats: SeatStore,
        reader: RoomReader,
        changes: RoomChanges,
        players: PlayerLookup,
        *,
        players_host: bool,
        now: Callable[[], datetime],
    ) -> None:
        self._quizzes = quizzes
        self._rooms = rooms
        self._seats = seats
        self._reader = reader
        self._changes = changes
        self._players = players
        self._players_host = players_host
        self._now = now

    async def open(self, host: Claims, quiz_id: str, options: Options, co_hosts: Sequence[str]) -> Snapshot:
        """Open a room with the current version of a quiz.

        Raises QUIZ_NOT_FOUND, QUIZ_CLOSED, PLAYER_NOT_FOUND for a co-host, PERMISSION_DENIED, INVALID_ARGUMENT, UNAVAILABLE.
        """
        if not (self._players_host or host.may(HOSTS)):
            raise ServiceError(Reason.PERMISSION_DENIED, "Only authors, moderators and admins open rooms here.")
        if fault := options.fault():
            raise invalid(*fault)
        stored = await self._quizzes.quiz(quiz_id)
        if stored is None:
            raise quiz_not_found(quiz_id)
        quiz, now = from_definition(stored.definition, stored.version), self._now()
        if not quiz.is_open(now):
            raise ServiceError(Reason.QUIZ_CLOSED, "The quiz is not open.")
        if options.counts_on_boards and (why := _counts_on_its_own_board_alone(quiz)):
            raise invalid("options.counts_on_boards", why)
        await asyncio.gather(*map(self._require_player, co_hosts))
        room = Room(
            room_id=str(uuid.uuid4()),
            pin="",
            quiz_id=quiz_id,
            quiz_version=stored.version,
            title=quiz.view.title,
            question_ids=tuple(question.id for question in quiz.view.questions),
            hosts=tuple(dict.fromkeys((host.user_id, *co_hosts))),
            options=options,
            opened_at=now,
            changed_at=now,
            challenge_key=new_key() if options.proof_of_work else b"",
        )
        room = await self._rooms.open(room, stored.definition)
        _log.info("room opened", room_id=room.room_id, quiz_id=quiz_id, actor=host.user_id)
        return Snapshot(room, 0, 0)

    async def advance(
        self, host: Claims, pin: str, command: Command, expected: int, command_id: str, extension: timedelta
    ) -> tuple[Snapshot, bool]:
        """Carry out a command if the room is at the expected revision; return the room, and whether the command took effect.

        It also took effect if an earlier call with the same `command_id` carried it out. `expected` is 0 for whatever the
        revision is, as long as phase and question stay those that this call has found. Seats that have moved since do not
        matter: players must not be able to keep a host from leading.

        Raises ROOM_NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT, UNAVAILABLE.
        """
        snapshot = await self._hosted(host, pin)
        found = room = snapshot.room
        if not expected and await self._rooms.has_carried_out(room.room_id, command_id):
            return snapshot, True
        while await self._is_as_expected(room, expected, found):
            now = self._now()
            try:
                after = advanced(room, command, now, About(extension=extension))
            except CommandError as error:
                raise invalid("command", str(error)) from None
            if _is_same(room, after):
                return snapshot, True
            if await self._replace(room, after, Transition(command, now, host.user_id, command_id)):
                return replace(snapshot, room=after), True
            snapshot = await self._reader.current(room.room_id)
            if snapshot.room.revision == room.revision:
                break  # the command was carried out before
            room = snapshot.room
        applied = await self._rooms.has_carried_out(room.room_id, command_id)
        return await self._reader.current(room.room_id), applied

    async def lock(self, host: Claims, pin: str, *, locked: bool) -> Snapshot:
        """Close a room for new players, or open it again. Idempotent.

        Raises ROOM_NOT_FOUND, ROOM_CLOSED, PERMISSION_DENIED, UNAVAILABLE.
        """
        command = Command.CLOSE_TO_NEW_PLAYERS if locked else Command.OPEN_TO_NEW_PLAYERS
        snapshot = await self._hosted(host, pin)
        if snapshot.room.is_closed_to_new_players == locked:
            return snapshot
        return await self._apply(snapshot, host, command)

    async def kick(self, host: Claims, pin: str, seat_id: str) -> Snapshot:
        """Remove a player with their answers. Idempotent.

        Raises ROOM_NOT_FOUND, ROOM_CLOSED, PLAYER_NOT_FOUND, PERMISSION_DENIED, UNAVAILABLE.
        """
        snapshot = await self._hosted(host, pin)
        if snapshot.room.phase is Phase.ENDED:
            raise _ended()
        seat = await self._seats.find(snapshot.room.room_id, seat_id)
        if seat is None:
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "The room has no such seat.")
        if seat.is_removed:
            return snapshot
        await self._seats.remove(seat_id)
        await self._apply(snapshot, host, Command.KICK, About(seat_id=seat_id))
        return await self._reader.current(snapshot.room.room_id)

    async def set_extra_time(
        self, host: Claims, pin: str, seat_id: str, extra_time: ExtraTime, *, full_points: bool = False
    ) -> Room:
        """Give a player extra time for this question and the later ones, and full points however long they take. Idempotent.

        Raises ROOM_NOT_FOUND, ROOM_CLOSED, PLAYER_NOT_FOUND, LIMIT_REACHED, PERMISSION_DENIED, UNAVAILABLE.
        """
        snapshot = await self._hosted(host, pin)
        room = snapshot.room
        await self._require_seat(room, seat_id)
        about = About(seat_id=seat_id, extra_time=extra_time, full_points=full_points)
        if (room.extra_time_of(seat_id), seat_id in room.full_points) == (extra_time, full_points):
            return room
        if len(room.accommodated) >= MAX_EXTRA_TIMES and seat_id not in room.accommodated:
            message = (
                f"At most {MAX_EXTRA_TIMES} players of a room have extra time. Give all players more time instead."
            )
            raise ServiceError(Reason.LIMIT_REACHED, message)
        after = await self._apply(snapshot, host, Command.SET_EXTRA_TIME, about)
        try:
            await self._require_seat(room, seat_id)
        except ServiceError:
            # Removed meanwhile: no question may wait for them.
            await self._apply(after, host, Command.SET_EXTRA_TIME, About(seat_id=seat_id))
            raise
        return after.room

    async def add_host(self, host: Claims, pin: str, user_id: str) -> Snapshot:
        """Let another account host the room too. Idempotent.

        Raises ROOM_NOT_FOUND, ROOM_CLOSED, PLAYER_NOT_FOUND, LIMIT_REACHED, PERMISSION_DENIED, UNAVAILABLE.
        """
        snapshot = await self._hosted(host, pin)
        if user_id in snapshot.room.hosts:
            return snapshot
        if len(snapshot.room.hosts) >= MAX_HOSTS:
            raise _too_many_hosts()
        await self._require_player(user_id)
        return await self._apply(snapshot, host, Command.ADD_HOST, About(host=user_id))

    async def remove_host(self, host: Claims, pin: str, user_id: str) -> Snapshot:
        """Take the room from a host, but not from the one who opened it. Idempotent.

        Raises ROOM_NOT_FOUND, ROOM_CLOSED, PERMISSION_DENIED, INVALID_ARGUMENT, UNAVAILABLE.
        """
        snapshot = await self._hosted(host, pin)
        first, *others = snapshot.room.hosts
        if user_id == first:
            fault = ("user_id", "must not be the account that opened the room")
            raise ServiceError(Reason.INVALID_ARGUMENT, f"{fault[0]}: {fault[1]}.", violations=[fault])
        if user_id not in others:
            return snapshot
        return await self._apply(snapshot, host, Command.REMOVE_HOST, About(host=user_id))

    async def hosts(self, host: Claims, pin: str) -> Sequence[str]:
        """Return the hosts of a room, first the one who opened it. Raises ROOM_NOT_FOUND, PERMISSION_DENIED, UNAVAILABLE."""
        return (await self._hosted(host, pin)).room.hosts

    async def _is_as_expected(self, room: Room, expected: int, found: Room) -> bool:
        if not expected:
            return room.is_at_step_of(found)
        return room.revision == expected or await self._rooms.has_only_moved_seats(room.room_id, expected)

    async def _require_seat(self, room: Room, seat_id: str) -> None:
        seat = await self._seats.find(room.room_id, seat_id)
        if seat is None or seat.is_removed:
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "The room has no such seat.")

    async def _require_player(self, user_id: str) -> None:
        if await self._players.find(user_id) is None:
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "No player has this ID.")

    async def _hosted(self, host: Claims, pin: str) -> Snapshot:
        snapshot = await self._reader.current(await self._rooms.room_id(pin))
        require_host(host, snapshot.room)
        return snapshot

    async def _apply(self, snapshot: Snapshot, host: Claims, command: Command, about: About | None = None) -> Snapshot:
        """Carry out a command at any revision, unless it would change nothing. A removal is recorded in any case.

        Raises ROOM_CLOSED, LIMIT_REACHED, and PERMISSION_DENIED if the caller hosts the room no more.
        """
        while True:
            room, now = snapshot.room, self._now()
            try:
                after = advanced(room, command, now, about)
            except CommandError:
                raise _ended() from None
            if len(after.hosts) > max(MAX_HOSTS, len(room.hosts)):
                raise _too_many_hosts()
            if _is_same(room, after) and command is not Command.KICK:
                return snapshot
            seat_id = about.seat_id if about else ""
            if await self._replace(room, after, Transition(command, now, host.user_id, about=seat_id)):
                return replace(snapshot, room=after)
            snapshot = await self._reader.current(room.room_id)
            require_host(host, snapshot.room)  # another host may have removed this one meanwhile

    async def _replace(self, room: Room, after: Room, transition: Transition) -> bool:
        is_replaced = await self._rooms.replace(room, after, transition)
        if is_replaced:
            self._changes.announce(room.room_id, transition=True)
            _log.info(
                "room command carried out",
                room_id=room.room_id,
                command=transition.command,
                revision=after.revision,
                actor=transition.actor,
            )
        return is_replaced


def require_host(host: Claims, room: Room) -> None:
    """Raise PERMISSION_DENIED unless the caller hosts the room."""
    if host.user_id not in room.hosts and not host.may(STAFF):
        raise ServiceError(Reason.PERMISSION_DENIED, "Only the hosts of the room may do this.")


def _counts_on_its_own_board_alone(quiz: Quiz) -> str:
    """Return why no room of a quiz may count on other boards; empty if it may."""
    if quiz.timing is not None:
        return "must be false for a timed quiz: only attempts at it count"
    if not quiz.view.rooms_count_on_boards:
        return "must be false for this quiz: its authors let rooms count on their own board alone"
    return ""


def _is_same(room: Room, after: Room) -> bool:
    """Whether a command changed nothing but the revision."""
    return replace(after, revision=room.revision, changed_at=room.changed_at) == room


def _too_many_hosts() -> ServiceError:
    return ServiceError(Reason.LIMIT_REACHED, f"A room has at most {MAX_HOSTS} hosts.")


def _ended() -> ServiceError:
    return ServiceError(Reason.ROOM_CLOSED, "The room has ended.")
