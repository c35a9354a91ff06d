"""The ranking of a room, and statistics of its questions. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from services.quiz.rooms.documents import Seat, SeatAnswer
from services.quiz.rooms.room import Room

MIN_HALF: Final = 2


class Place(NamedTuple):
    """A seat's line on the board of its room."""

    rank: int
    seat: Seat
    points: int


class Mark(NamedTuple):
    """What a seat's answer to a question earned."""

    is_right: bool
    points: int


class Choice(NamedTuple):
    """How many players selected an option; `question` is an index."""

    question: int
    option: str
    players: int


@dataclass(frozen=True, slots=True)
class Fold:
    """The fold of a room's answers at one revision: the board, and the choices at each revealed question."""

    places: Sequence[Place]
    by_seat: Mapping[str, Place]
    choices: Sequence[Choice]

    @classmethod
    def of(cls, places: Sequence[Place], choices: Sequence[Choice]) -> Self:
        """Return the fold of places and choices."""
        return cls(places, {place.seat.seat_id: place for place in places}, choices)


class OwnPlace(NamedTuple):
    """A player's own view: their answer to the question that is shown, and the board if there is one."""

    room: Room
    seat: Seat
    answer: SeatAnswer | None
    fold: Fold | None


def ranked(seats: Iterable[Seat], points: Mapping[str, int]) -> list[Place]:
    """Return the places of all seats, with 0 points or more.

    Seats with equal points share a rank, and stand in the order in which they joined.
    """

    def earned_by(seat: Seat) -> int:
        return max(0, points.get(seat.seat_id, 0))

    places: list[Place] = []
    ordered = sorted(seats, key=lambda seat: (-earned_by(seat), seat.joined_at, seat.seat_id))
    for position, seat in enumerate(ordered, start=1):
        earned = earned_by(seat)
        shares = bool(places) and places[-1].points == earned
        places.append(Place(places[-1].rank if shares else position, seat, earned))
    return places


def discrimination(places: Sequence[Place], answers: Mapping[str, bool]) -> float | None:
    """Return the share of right answers in the better half of the players minus that in the other half, -1 to 1.

    `answers` says of each seat that answered whether it was right. None with fewer than two answers in a half.
    """
    answered = [answers[place.seat.seat_id] for place in places if place.seat.seat_id in answers]
    half = len(answered) // 2
    if half < MIN_HALF:
        return None
    return (sum(answered[:half]) - sum(answered[-half:])) / half
