"""The transitions of a room, by commands and by time. Pure: no driver, no clock; times are passed in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from services.quiz.attempts.extra_time import ExtraTime
from services.quiz.rooms.room import GRACE, Phase, Room


class Command(StrEnum):
    """The commands of a host, and MOVE_SEAT of a player, which changes nothing that a room shows."""

    NEXT = "next"
    LOCK = "lock"
    BACK = "back"
    EXTEND = "extend"
    END = "end"
    START = "start"
    REVEAL = "reveal"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    CLOSE_TO_NEW_PLAYERS = "close_to_new_players"
    OPEN_TO_NEW_PLAYERS = "open_to_new_players"
    KICK = "kick"
    SET_EXTRA_TIME = "set_extra_time"
    ADD_HOST = "add_host"
    REMOVE_HOST = "remove_host"
    MOVE_SEAT = "move_seat"


class CommandError(ValueError):
    """A command that the phase does not allow."""


@dataclass(frozen=True, slots=True)
class About:
    """The arguments of a command.

    EXTEND takes `extension`, KICK `seat_id`, SET_EXTRA_TIME `seat_id`, `extra_time` and `full_points`, ADD_HOST and
    REMOVE_HOST `host`.
    """

    extension: timedelta = timedelta()
    seat_id: str = ""
    extra_time: ExtraTime = ExtraTime.NONE
    full_points: bool = False
    host: str = ""


def advanced(room: Room, command: Command, now: datetime, about: About | None = None) -> Room:
    """Return the next revision of a room after a command at `now`. Raises CommandError if the phase does not allow it.

    `room` must be `settled` at `now`.
    """
    after = _after(room, command, now, about or About())
    if after is None:
        raise CommandError(f"a room in the phase {room.phase.upper()} does not take {command.upper()}")
    return replace(after, revision=room.revision + 1, changed_at=now)


def settled(room: Room, now: datetime, *, waiting_for: Collection[str] = (), all_answered: bool = False) -> Room:
    """Return the room after the transition that is due without a command, to LOCKED or ENDED; the same object if none is.

    A question locks after its latest deadline and the grace, so that what is shown then has its last answers; `waiting_for`
    is as in `Room.closes_at`. If the options say so, it also locks once all players have answered.
    """
    if room.phase is Phase.ENDED:
        return room
    after = room
    if now >= room.ends_at:
        after = _ended(room, room.ends_at)
    elif room.phase is Phase.QUESTION:
        closes_at = room.closes_at(waiting_for)
        if closes_at is not None and now > closes_at + GRACE:
            after = _locked(room, closes_at)
        elif all_answered and room.options.locks_when_all_answered:
            after = _locked(room, now)
    return room if after is room else replace(after, revision=room.revision + 1, changed_at=now)


def _after(room: Room, command: Command, now: datetime, about: About) -> Room | None:
    if room.phase is Phase.ENDED:
        return None
    return _moved(room, command, now) or _changed(room, command, now, about)


def _moved(room: Room, command: Command, now: datetime) -> Room | None:
    """Return the room in another phase; None if the command does not lead to one from here."""
    match command, room.phase:
        case Command.END, _:
            return _ended(room, now)
        case Command.NEXT, _:
            return _next(room, now)
        case Command.START, Phase.LOBBY:
            return _next(room, now)
        case Command.LOCK, Phase.QUESTION:
            return _locked(room, now)
        case Command.REVEAL, Phase.QUESTION:
            return replace(_locked(room, now), phase=Phase.REVEAL)
        case (Command.REVEAL, Phase.LOCKED) | (Command.BACK, Phase.BOARD):
            return replace(room, phase=Phase.REVEAL)
        case Command.BACK, Phase.PODIUM:
            return replace(room, phase=Phase.BOARD)
    return None


def _changed(room: Room, command: Command, now: datetime, about: About) -> Room | None:
    """Return the room with another deadline, board, door, host or extra time; None if the phase does not allow it."""
    match command:
        case Command.EXTEND if room.phase is Phase.QUESTION and room.deadline is not None and about.extension:
            return replace(room, deadline=max(room.deadline, now) + about.extension)
        case Command.FREEZE if room.phase is not Phase.PODIUM:
            return _with_frozen_questions(room, len(room.question_ids) - room.counted_questions)
        case Command.UNFREEZE if room.phase is not Phase.PODIUM:
            return _with_frozen_questions(room, 0)
        case Command.CLOSE_TO_NEW_PLAYERS | Command.OPEN_TO_NEW_PLAYERS:
            return replace(room, is_closed_to_new_players=command is Command.CLOSE_TO_NEW_PLAYERS)
        case Command.KICK:
            return _with_extra_time(room, About(seat_id=about.seat_id))
        case Command.SET_EXTRA_TIME:
            return _with_extra_time(room, about)
        case Command.ADD_HOST:
            return replace(room, hosts=tuple(dict.fromkeys((*room.hosts, about.host))))
        case Command.REMOVE_HOST:
            return replace(room, hosts=tuple(each for each in room.hosts if each != about.host))
        case Command.MOVE_SEAT:
            return room
    return None


def _next(room: Room, now: datetime) -> Room:
    match room.phase:
        case Phase.QUESTION:
            return _locked(room, now)
        case Phase.LOCKED:
            return replace(room, phase=Phase.REVEAL)
        case Phase.REVEAL:
            return replace(room, phase=Phase.BOARD)
        case Phase.PODIUM:
            return _ended(room, now)
        case Phase.BOARD if room.question + 1 == len(room.question_ids):
            return replace(room, phase=Phase.PODIUM)
        case _:
            seconds = room.options.seconds
            deadline = now + timedelta(seconds=seconds) if seconds else None
            return replace(
                room,
                phase=Phase.QUESTION,
                question=room.question + 1,
                asked_at=now,
                deadline=deadline,
                locked_at=None,
            )


def _locked(room: Room, now: datetime) -> Room:
    return replace(room, phase=Phase.LOCKED, locked_at=now)


def _with_extra_time(room: Room, about: About) -> Room:
    seat_id = about.seat_id
    extra_times = {seat: each for seat, each in room.extra_times.items() if seat != seat_id}
    if about.extra_time is not ExtraTime.NONE:
        extra_times[seat_id] = about.extra_time
    full_points = {seat: since for seat, since in room.full_points.items() if seat != seat_id}
    if about.full_points:
        full_points[seat_id] = room.full_points.get(seat_id, room.question)
    return replace(room, extra_times=extra_times, full_points=full_points)


def _with_frozen_questions(room: Room, count: int) -> Room:
    return replace(room, options=replace(room.options, frozen_questions=count))


def _ended(room: Room, now: datetime) -> Room:
    return replace(room, phase=Phase.ENDED, ended_at=now)
