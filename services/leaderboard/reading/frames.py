"""Frames: the head of a board with names, as it is sent.

Keeps the last frame of each recently read board, to be served while boards cannot be read. Never changes a frame once it is
made: a stream may be sending it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import orjson
from cachetools import LRUCache
from topten.leaderboard.v1.leaderboard_pb2 import Entry, Frame

from services.boards.board import Board
from services.boards.catalog import Catalog
from services.boards.periods.freezing import frozen_since
from services.leaderboard.ranking import Member, Ranked, ranked
from services.leaderboard.reading.boards import Boards
from services.leaderboard.reading.names import Name, Names
from services.leaderboard.reading.results import Head

# A frame of a hundred entries takes about 20 KB of memory.
MAX_FRAMES: Final = 500


class Reading(NamedTuple):
    """A frame, the members that it shows, and whether identity was reachable for all their names.

    `movers` are the players who can change it on a board of groups; None if all can.
    """

    frame: Frame
    members: Sequence[Member]
    has_all_names: bool
    movers: Container[str] | None = None


class Frames:
    """Reads frames, and keeps the newest frame of each recently read board."""

    def __init__(self, boards: Boards, names: Names, catalog: Catalog, *, now: Callable[[], datetime]) -> None:
        self._boards = boards
        self._names = names
        self._catalog = catalog
        self._now = now
        self._last: LRUCache[str, Frame] = LRUCache(MAX_FRAMES)

    async def read(self, board: Board, size: int) -> Reading:
        """Read the first `size` ranks. The frame's timestamp is just before the read. Raises UnreadableError."""
        read_at = self._now()
        head, is_partial = await self._boards.read_marked(board, lambda view: view.head(size))
        names = await names_of(self._names, [user_id for user_id, _ in head.members], head.titles)
        frame = frame_of(board, head, read_at, names, ascending=self._catalog.is_ascending(board))
        frame.stale = is_partial
        if since := frozen_since(self._catalog, board, read_at):
            frame.frozen_since.FromDatetime(since)
        last = self._last.get(frame.board)
        # Anybody may read the board of a quiz that does not exist; such a board must not replace another one's frame.
        if board.kind == "quiz" and not frame.version and not frame.entries:
            return Reading(frame, (), has_all_names=True)
        # Reads can end in another order than they started in. Of two frames of one state the longer one is kept.
        if last is None or (*position(last), len(last.entries)) <= (*position(frame), len(frame.entries)):
            self._last[frame.board] = frame
        return Reading(frame, head.members, all(name.known for name in names.values()), head.movers)

    def last(self, board: Board) -> Frame | None:
        """Return the newest frame that was read, marked stale; None if there is none."""
        last = self._last.get(board.name)
        return None if last is None else stale_copy(last)


async def names_of(names: Names, member_ids: Collection[str], titles: Mapping[str, str] | None) -> Mapping[str, Name]:
    """Return the names of members of a board: of players, or those in `titles` if they are teams."""
    if titles is None:
        return await names.of(member_ids)
    return {team_id: Name(titles[team_id], "") for team_id in member_ids}


def frame_of(
    board: Board, head: Head, read_at: datetime, names: Mapping[str, Name], *, ascending: bool = False
) -> Frame:
    """Make the frame of a head; `ascending` where less is better."""
    frame = Frame(
        board=board.name,
        generation=head.generation,
        version=head.version,
        entries=[
            entry_of(
                place,
                names[place.user_id],
                head.previous_ranks.get(place.user_id),
                head.metadata.get(place.user_id, ""),
            )
            for place in ranked(head.members, ascending=ascending, shared_ranks=head.shared_ranks)
        ],
    )
    frame.timestamp.FromDatetime(read_at)
    return frame


def entry_of(place: Ranked, name: Name, previous_rank: int | None, metadata: str) -> Entry:
    """Make the entry of a ranked player; `metadata` is a JSON object, or empty."""
    return Entry(
        rank=place.rank,
        user_id=place.user_id,
        username=name.username,
        score=place.points,
        country=name.country,
        previous_rank=previous_rank,
        gap_to_next=place.gap,
        metadata=orjson.loads(metadata) if metadata else None,
    )


def position(frame: Frame) -> tuple[int, int]:
    """Return the position of a frame among the frames of its board; the newer frame has the higher one."""
    return frame.generation, frame.version


def differs(frame: Frame, other: Frame | None) -> bool:
    """Whether `frame` shows anything that `other` does not. A new version alone shows nothing; a new generation does."""
    return (
        other is None
        or frame.generation != other.generation
        or frame.stale != other.stale
        or frame.frozen_since != other.frozen_since
        or frame.entries != other.entries
    )


def stale_copy(frame: Frame) -> Frame:
    """Return a copy of the frame that is marked as stale."""
    copy = Frame()
    copy.CopyFrom(frame)
    copy.stale = True
    return copy


def traced(frame: Frame, traceparents: Sequence[str]) -> Frame:
    """Return a copy of the frame that is part of these traces."""
    copy = Frame()
    copy.CopyFrom(frame)
    copy.traceparents.extend(traceparents)
    return copy


def cut(frame: Frame, limit: int) -> Frame:
    """Return the frame with its first `limit` entries."""
    if len(frame.entries) <= limit:
        return frame
    copy = Frame()
    copy.CopyFrom(frame)
    del copy.entries[limit:]
    return copy
