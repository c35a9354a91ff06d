"""Frames: the head of a board with names, as it is sent.

Owns how a frame is made of what was read, and the last frame of each board for the time when none can be read. Must
never change a frame that was made: who holds it may be sending it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from topten.leaderboard.v1.leaderboard_pb2 import Entry, Frame

from services.leaderboard.names import Name
from services.leaderboard.ranking import Member, Ranked, ranked
from services.runtime.boards import Board

if TYPE_CHECKING:
    from services.leaderboard.head import Head
    from services.leaderboard.names import Names
    from services.leaderboard.shelf import Reader

# A frame of a hundred entries is about 20 KB in memory.
MAX_KEPT: Final = 500


@dataclass(frozen=True, slots=True)
class Reading:
    """A frame, the members it was made of, and whether every name in it could be had."""

    frame: Frame
    members: Sequence[Member]
    has_all_names: bool


class Frames:
    """Reads frames, and keeps the newest one of each of the boards that were read last."""

    def __init__(self, boards: Reader, names: Names, *, now: Callable[[], datetime]) -> None:
        self._boards = boards
        self._names = names
        self._now = now
        self._kept: OrderedDict[str, Frame] = OrderedDict()

    async def read(self, board: Board, size: int) -> Reading:
        """The first `size` places as they are now, `timestamp` being the moment before they were read.

        Raises UnreadableError.
        """
        read_at = self._now()
        head = await self._boards.head(board, size)
        names = await self._names.of(user_id for user_id, _ in head.members)
        frame = frame_of(board, head, read_at, names)
        self._keep(frame)
        return Reading(frame, head.members, all(name.known for name in names.values()))

    def last(self, board: Board) -> Frame | None:
        """The newest frame that was read, marked stale; None if there is none."""
        kept = self._kept.get(board.text)
        return None if kept is None else restated(kept, stale=True)

    def _keep(self, frame: Frame) -> None:
        kept = self._kept.get(frame.board)
        # Two reads may end in another order than they began, and the longer of two equal ones serves more.
        if kept is None or (*position(kept), len(kept.entries)) <= (*position(frame), len(frame.entries)):
            self._kept[frame.board] = frame
        self._kept.move_to_end(frame.board)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)


def frame_of(board: Board, head: Head, read_at: datetime, names: Mapping[str, Name]) -> Frame:
    """The frame of a head."""
    frame = Frame(
        board=board.text,
        generation=head.generation,
        version=head.version,
        entries=[
            entry_of(place, names[place.user_id], head.previous.get(place.user_id)) for place in ranked(head.members)
        ],
    )
    frame.timestamp.FromDatetime(read_at)
    return frame


def entry_of(place: Ranked, name: Name, previous: int | None) -> Entry:
    """One place with its player's name."""
    return Entry(
        rank=place.rank,
        user_id=place.user_id,
        username=name.username,
        score=place.points,
        country=name.country,
        previous_rank=previous,
    )


def position(frame: Frame) -> tuple[int, int]:
    """Where the frame stands among those of its board; the higher one is the newer."""
    return frame.generation, frame.version


def differs(frame: Frame, other: Frame | None) -> bool:
    """Whether who was shown `other` has something new to see in `frame`."""
    return (
        other is None
        or frame.generation != other.generation
        or frame.stale != other.stale
        or frame.entries != other.entries
    )


def restated(frame: Frame, *, stale: bool) -> Frame:
    """The same state, said to be stale or not."""
    copy = Frame()
    copy.CopyFrom(frame)
    copy.stale = stale
    return copy


def caused(frame: Frame, traceparents: Sequence[str]) -> Frame:
    """The same state, said to be part of these traces."""
    copy = Frame()
    copy.CopyFrom(frame)
    copy.traceparents.extend(traceparents)
    return copy


def cut(frame: Frame, limit: int) -> Frame:
    """The first `limit` entries of the frame."""
    if len(frame.entries) <= limit:
        return frame
    copy = Frame()
    copy.CopyFrom(frame)
    del copy.entries[limit:]
    return copy
