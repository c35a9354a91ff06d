"""The state of a room at one revision. Pure: no driver, no clock; times are passed in. See `transitions.py` for the next."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from services.quiz.attempts.extra_time import ExtraTime

GRACE: Final = timedelta(seconds=1)
"""How long after a question's deadline or lock an answer still counts; the same for all players."""
LIFE: Final = timedelta(hours=12)
"""How long after its opening a room ends if no host ends it."""
RETENTION: Final = timedelta(days=30)
"""How long a room, its seats and answers are kept after its life."""
DEFAULT_PLAYERS: Final = 200
BOARD_SIZE: Final = 10


class Phase(StrEnum):
    """The phases of a room, in order; after the board comes the next question or, after the last one, the podium."""

    LOBBY = "lobby"
    QUESTION = "question"
    LOCKED = "locked"
    REVEAL = "reveal"
    BOARD = "board"
    PODIUM = "podium"
    ENDED = "ended"


class Nicknames(StrEnum):
    """Where nicknames come from."""

    CHOSEN = "chosen"
    GENERATED = "generated"
    USERNAME = "username"


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a room. `seconds` is the time for each question; 0 means that the host locks it.

    With `proof_of_work` a new seat takes the solution of a challenge.
    """

    seconds: int = 0
    locks_when_all_answered: bool = False
    speed_points: bool = False
    frozen_questions: int = 0
    max_players: int = DEFAULT_PLAYERS
    nicknames: Nicknames = Nicknames.CHOSEN
    counts_on_boards: bool = False
    proof_of_work: bool = False

    def fault(self) -> tuple[str, str] | None:
        """Return the field that contradicts another one and why; None if none does."""
        if self.speed_points and not self.seconds:
            return "options.speed_points", "needs a time for each question"
        return None


@dataclass(frozen=True, slots=True)
class Room:
    """A room at one revision, which it got at `changed_at`.

    `hosts` has the account that opened it first; `question` is an index, -1 in the lobby. `deadline` is that of players
    without extra time; `extra_times` has the seats with some. `full_points` has the seats whose speed points do not fall, with
    the question at which a host decided so: answers to it may have come before. `challenge_key` signs the challenges of a
    room that has them.
    """

    room_id: str
    pin: str
    quiz_id: str
    quiz_version: int
    title: str
    question_ids: tuple[str, ...]
    hosts: tuple[str, ...]
    options: Options
    opened_at: datetime
    changed_at: datetime
    revision: int = 1
    phase: Phase = Phase.LOBBY
    question: int = -1
    asked_at: datetime | None = None
    deadline: datetime | None = None
    locked_at: datetime | None = None
    is_closed_to_new_players: bool = False
    extra_times: Mapping[str, ExtraTime] = field(default_factory=dict)
    full_points: Mapping[str, int] = field(default_factory=dict)
    ended_at: datetime | None = None
    challenge_key: bytes = field(default=b"", repr=False)

    @property
    def question_id(self) -> str:
        """The current question; empty in the lobby."""
        return self.question_ids[self.question] if self.question >= 0 else ""

    @property
    def ends_at(self) -> datetime:
        """When the room ends if no host ends it."""
        return self.opened_at + LIFE

    @property
    def purge_at(self) -> datetime:
        """When it is deleted, with its seats and answers."""
        return self.ends_at + RETENTION

    def is_at_step_of(self, other: Room) -> bool:
        """Whether the room is in the phase and at the question of another revision of it."""
        return (self.phase, self.question) == (other.phase, other.question)

    @property
    def shows_question(self) -> bool:
        """Whether everybody sees the current question."""
        return self.phase in (Phase.QUESTION, Phase.LOCKED, Phase.REVEAL)

    @property
    def shows_key(self) -> bool:
        """Whether everybody sees which option of the current question is right."""
        return self.phase is Phase.REVEAL

    @property
    def shows_board(self) -> bool:
        """Whether everybody sees the board."""
        return self.phase in (Phase.BOARD, Phase.PODIUM, Phase.ENDED)

    @property
    def is_frozen(self) -> bool:
        """Whether the board stands still: the next question that is revealed will not count on it."""
        frozen = self.options.frozen_questions
        is_final = self.phase in (Phase.PODIUM, Phase.ENDED)
        return bool(frozen) and not is_final and self.revealed_questions >= len(self.question_ids) - frozen

    @property
    def revealed_questions(self) -> int:
        """How many questions were revealed, from the first. The end of the room reveals the one that was open."""
        is_open = self.phase in (Phase.QUESTION, Phase.LOCKED)
        return self.question if is_open else self.question + 1

    @property
    def counted_questions(self) -> int:
        """How many questions the board counts, from the first: those revealed and, before the podium, not frozen."""
        if self.phase in (Phase.PODIUM, Phase.ENDED):
            return self.revealed_questions
        return min(self.revealed_questions, max(0, len(self.question_ids) - self.options.frozen_questions))

    @property
    def at_last_board(self) -> Room | None:
        """The room as it counts the board that it shows, or has shown last; None before the first one.

        While a question is open, locked or revealed that is the board before it, so that nobody is ahead of the host.
        """
        if self.shows_board:
            return self
        return replace(self, phase=Phase.QUESTION) if self.question > 0 else None

    @property
    def accommodated(self) -> Collection[str]:
        """The seats with extra time or full points."""
        return {**self.extra_times, **self.full_points}.keys()

    def extra_time_of(self, seat_id: str) -> ExtraTime:
        """Return the extra time of a seat."""
        return self.extra_times.get(seat_id, ExtraTime.NONE)

    def deadline_of(self, seat_id: str) -> datetime | None:
        """When the question locks for a seat, unless the host locks it before; None without a limit."""
        if self.deadline is None or self.asked_at is None:
            return None
        time = self.extra_time_of(seat_id).applied_to(self.deadline - self.asked_at)
        return None if time is None else self.asked_at + time

    def closes_at(self, waiting_for: Collection[str]) -> datetime | None:
        """When the question locks by itself; None if it does not.

        `waiting_for` has the seats with extra time that have not answered it.
        """
        latest = self.deadline
        for deadline in map(self.deadline_of, waiting_for):
            if latest is None or deadline is None:
                return None
            latest = max(latest, deadline)
        return latest

    def takes_answer(self, seat_id: str, question_id: str, received_at: datetime) -> bool:
        """Return whether an answer of a seat that the server received at this time counts.

        Transitions that were due by then need not be recorded: a room takes no answers after a deadline, noticed or not.
        """
        if question_id != self.question_id or self.phase not in (Phase.QUESTION, Phase.LOCKED):
            return False
        ends = (self.locked_at, self.deadline_of(seat_id))
        return received_at < self.ends_at and all(end is None or received_at <= end + GRACE for end in ends)

    def next_change_at(self, waiting_for: Collection[str]) -> datetime:
        """When it changes without a command, at the latest. `waiting_for` is as in `closes_at`."""
        closes_at = self.closes_at(waiting_for) if self.phase is Phase.QUESTION else None
        return self.ends_at if closes_at is None else min(closes_at + GRACE, self.ends_at)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A room with the number of its players, and of those who have answered the question that it shows.

    While the question is open, `waiting_for` has the seats with extra time that have not answered it.
    """

    room: Room
    players: int
    answered: int
    waiting_for: Collection[str] = ()
