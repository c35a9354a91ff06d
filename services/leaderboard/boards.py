"""Boards as Redis has them. Reads only.

A board is one key, or several that players are hashed over; every answer is the same for both, and exact: the first places
are the best of all keys' first ones, a rank is the sum of how many stand before it on each, by value and id as one key
orders them. Each read of one key is one round trip and one script; see `reading` for what makes several keys one state.
Boards are complete while `leaderboard:generation` is there and no board is ahead of it; otherwise they are being made anew,
and what is read counts for nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Any, Final, NamedTuple, TypeVar

from redis.asyncio import Redis

from services.leaderboard import scripts
from services.leaderboard.head import Head, UnreadableError
from services.leaderboard.ranking import Member, order
from services.leaderboard.reading import Asker, MovedError, Reading
from services.runtime.boards import Board
from services.runtime.redis_client import REDIS_ERRORS
from services.runtime.split import Part, Split

# As many reads at a time as one Redis is the better for; the others wait for their turn within their time.
CONCURRENT: Final = 32
# As many places are read to find one of them.
_NEAR: Final = 256
_AGAIN_SECONDS: Final = 0.02
T = TypeVar("T")


class Place(NamedTuple):
    """Where a player stands: rank from 1, value, and the rank before his last counted action where it is known."""

    rank: int
    value: float
    previous: int | None


@dataclass(frozen=True, slots=True)
class Window:
    """Some places of a board that follow one another: how many there are in all, the first one's rank, and one more.

    `previous` is as in `Head`; `own` is the place of whoever was asked for.
    """

    total: int
    first: int
    members: Sequence[Member]
    previous: Mapping[str, int]
    own: Place | None = None


class Boards:
    """Reads boards. Every method raises UnreadableError, at the latest after `timeout`.

    `split` is how boards are hashed over keys as far as is known; what Redis says of it counts.
    """

    def __init__(self, redis: Redis, *, timeout: timedelta, split: Split | None = None) -> None:
        self._asker = Asker(redis, split or Split())
        self._timeout = timeout.total_seconds()
        self._turns = asyncio.Semaphore(CONCURRENT)

    async def head(self, board: Board, size: int) -> Head:
        """The first `size` places. A board that nobody has written to is empty and has version 0."""

        async def read(reading: Reading) -> Head:
            answers = await reading.ask(scripts.HEAD, size)
            members, previous = _merged(answers)
            return Head(reading.generation, reading.version, *_cut(members, previous, 0, size))

        return await self._read(board, read)

    async def places(self, board: Board, user_ids: Sequence[str]) -> Mapping[str, Place]:
        """The places of those of the players (at least one) who are ranked."""
        return await self._read(board, lambda reading: _places(reading, board, user_ids))

    async def page(self, board: Board, size: int, after: Member | None, own: str) -> Window:
        """`size` places behind `after`, from the first one if that is None, and the place of the player `own`."""
        behind = () if after is None else (repr(after[1]), after[0])

        async def read(reading: Reading) -> Window:
            answers = await reading.ask(scripts.PAGE, size, *(behind or ("", "")))
            members, previous = _merged(answer[2:] for answer in answers)
            place = (await _places(reading, board, [own])).get(own) if own else None
            total, before = (sum(int(answer[n]) for answer in answers) for n in (0, 1))
            return Window(total, before + 1, *_cut(members, previous, 0, size), place)

        return await self._read(board, read)

    async def around(self, board: Board, user_id: str, radius: int) -> Window:
        """The player's place with `radius` others to each side, shifted where an end of the board is nearer than that.

        No places if the player has none.
        """

        async def read(reading: Reading) -> Window:
            if len(reading.parts) == 1:
                answers = await reading.ask(scripts.AROUND, user_id, radius, "")
                total, start, *found = answers[0]
                members, previous = _merged([found])
                return Window(int(total), int(start) + 1, members, previous)
            place = (await _places(reading, board, [user_id])).get(user_id)
            value = "" if place is None else repr(place.value)
            # Where an end is near, all others may stand to one side.
            answers = await reading.ask(scripts.AROUND, user_id, 2 * radius, value)
            total = sum(int(answer[0]) for answer in answers)
            if place is None:
                return Window(total, 1, [], {})
            members, previous = _merged(answer[2:] for answer in answers)
            start = max(0, min(place.rank - 1 - radius, total - 2 * radius - 1))
            skipped = members.index((user_id, place.value)) - (place.rank - 1 - start)
            return Window(total, start + 1, *_cut(members, previous, skipped, 2 * radius + 1))

        return await self._read(board, read)

    async def ahead(self, board: Board, value: float, but: str) -> tuple[int, int]:
        """How many have at least this value, `but` not counted, and how many are ranked in all."""

        async def read(reading: Reading) -> tuple[int, int]:
            answers = await reading.ask(scripts.AHEAD, repr(value), but)
            return sum(int(answer[0]) for answer in answers), sum(int(answer[1]) for answer in answers)

        return await self._read(board, read)

    async def quantile(self, board: Board, percentile: float) -> tuple[float | None, int]:
        """The least value whose owner has at least `percentile` of all at or below him, and how many are ranked."""

        async def read(reading: Reading) -> tuple[float | None, int]:
            totals = [int(answer[0]) for answer in await reading.ask(scripts.SLICE, 0, 0)]
            total = sum(totals)
            # The share is of a whole number, so what is a hair above one is that one.
            index = total - math.ceil(total * percentile / 100 - 1e-9)
            return (await _member_at(reading, index, totals))[1] if total else None, total

        return await self._read(board, read)

    async def _read(self, board: Board, read: Callable[[Reading], Awaitable[T]]) -> T:
        try:
            with _Deadline(self._timeout):
                async with self._turns:
                    while True:
                        try:
                            return await read(Reading(self._asker, board))
                        except MovedError:
                            continue
        except REDIS_ERRORS as error:
            raise UnreadableError(f"redis does not answer: {type(error).__name__}") from error
        except (ValueError, TypeError) as error:
            raise UnreadableError("the board holds what no board can hold") from error


class _Deadline:
    """Within the block the task is cancelled after `seconds`, and again until it notices; UnreadableError then.

    Before Python 3.12 the driver swallows a cancellation that comes while it writes, and goes on for as long as the sockets'
    own timeouts allow. A task of its own for what is waited for would cost a read a fifth of its time.
    """

    __slots__ = ("_cancelled", "_loop", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._cancelled = 0

    def __enter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._timer = self._loop.call_later(self._seconds, self._cancel)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        self._timer.cancel()
        if not self._cancelled:
            return
        assert self._task is not None, "a coroutine is run by a task"
        left = 0
        for _ in range(self._cancelled):
            left = self._task.uncancel()
        if kind is asyncio.CancelledError and left == 0:
            raise UnreadableError("redis does not answer in time") from error

    def _cancel(self) -> None:
        assert self._task is not None, "a coroutine is run by a task"
        self._cancelled += 1
        self._task.cancel()
        self._timer = self._loop.call_later(_AGAIN_SECONDS, self._cancel)


async def _places(reading: Reading, board: Board, user_ids: Sequence[str]) -> dict[str, Place]:
    """The places of those who are ranked: by the player's own key, and by how many stand before him on the others."""
    split = reading.split
    asked: defaultdict[Part, list[str]] = defaultdict(list)
    for user_id in user_ids:
        asked[split.part(board, user_id)].append(user_id)
    found: dict[str, Place] = {}
    for ids, (ranks, values, previous) in zip(
        asked.values(), await reading.ask_each(scripts.PLACES, asked), strict=True
    ):
        for user_id, rank, value, before in zip(ids, ranks, values, previous, strict=True):
            if rank is not None:
                found[user_id] = Place(int(rank) + 1, float(value), None if before is None else int(before))
    if len(reading.parts) > 1 and found:
        others = {part: [user_id for user_id in found if split.part(board, user_id) != part] for part in reading.parts}
        calls = {
            part: [text for user_id in ids for text in (repr(found[user_id].value), user_id)]
            for part, ids in others.items()
        }
        for ids, (counts,) in zip(others.values(), await reading.ask_each(scripts.BEFORE, calls), strict=True):
            for user_id, count in zip(ids, counts, strict=True):
                found[user_id] = found[user_id]._replace(rank=found[user_id].rank + int(count))
    return found


async def _member_at(reading: Reading, index: int, totals: Sequence[int]) -> Member:
    """Who stands at a place, counted from 0: on each key, what can't be him is halved until few are left."""
    one_key = len(totals) == 1
    lows, highs = ([index], [index + 1]) if one_key else ([0] * len(totals), list(totals))
    while sum(highs) - sum(lows) > _NEAR:
        widest = max(range(len(totals)), key=lambda n: highs[n] - lows[n])
        middle = (lows[widest] + highs[widest]) // 2
        part = reading.parts[widest]
        ((_, found),) = await reading.ask_each(scripts.SLICE, {part: (middle, middle + 1)})
        ((user_id, value),) = _members(found)
        counts = [int(count) for ((count,),) in await reading.ask(scripts.BEFORE, repr(value), user_id)]
        if sum(counts) > index:
            highs = counts
        else:
            lows = counts
    rest = await reading.ask_each(scripts.SLICE, dict(zip(reading.parts, zip(lows, highs, strict=True), strict=True)))
    return order(chain.from_iterable(_members(found) for _, found in rest))[index - sum(lows)]


def _merged(answers: Iterable[Sequence[Any]]) -> tuple[list[Member], dict[str, int]]:
    """Members and previous ranks of all keys, in order."""
    members: list[Member] = []
    previous: dict[str, int] = {}
    keys = 0
    for found, ranks in answers:
        keys += 1
        there = _members(found)
        members += there
        previous |= {there[n][0]: int(rank) for n, rank in zip(ranks[::2], ranks[1::2], strict=True)}
    return members if keys == 1 else order(members), previous


def _cut(
    members: list[Member], previous: Mapping[str, int], start: int, size: int
) -> tuple[list[Member], Mapping[str, int]]:
    """Some of the members, with their previous ranks."""
    if not start and len(members) <= size:
        return members, previous
    kept = members[start : start + size]
    return kept, {user_id: previous[user_id] for user_id, _ in kept if user_id in previous}


def _members(found: Sequence[bytes]) -> list[Member]:
    """Ids and values that follow one another."""
    return list(zip(map(bytes.decode, found[::2]), map(float, found[1::2]), strict=True))
