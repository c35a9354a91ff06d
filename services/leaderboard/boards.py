"""Boards as Redis has them. Reads only.

Each read is one round trip and one script, so that a version and the places it counts are of one moment: instances that
read the same version show the same. Boards are complete while `leaderboard:generation` is there and no board is ahead of
it; otherwise they are being made anew, and what is read counts for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.leaderboard import scripts
from services.leaderboard.head import Head, UnreadableError
from services.leaderboard.ranking import Member
from services.runtime.boards import GENERATION_KEY, Board

# As many reads at a time as one Redis is the better for; the others wait for their turn within their time.
CONCURRENT: Final = 32


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
    """Reads boards. Every method raises UnreadableError, at the latest after `timeout`."""

    def __init__(self, redis: Redis, *, timeout: timedelta) -> None:
        self._redis = redis
        self._timeout = timeout.total_seconds()
        self._turns = asyncio.Semaphore(CONCURRENT)

    async def head(self, board: Board, size: int) -> Head:
        """The first `size` places. A board that nobody has written to is empty and has version 0."""
        complete, (generation, version, found, previous) = await self._run(scripts.HEAD, board, [size])
        try:
            ids = [user_id.decode() for user_id in found[::2]]
            members = list(zip(ids, map(float, found[1::2]), strict=True))
            before = {id_: int(rank) for id_, rank in zip(ids, previous, strict=True) if rank is not None}
            return Head(*_state(complete, generation, version), members, before)
        except (ValueError, TypeError) as error:
            raise UnreadableError("the board holds what no board can hold") from error

    async def places(self, board: Board, user_ids: Sequence[str]) -> Mapping[str, Place]:
        """The places of those of the players (at least one) who are ranked."""
        complete, (generation, version, ranks, values, previous) = await self._run(scripts.PLACES, board, user_ids)
        try:
            _state(complete, generation, version)
            return {
                user_id: Place(int(rank) + 1, float(value), None if before is None else int(before))
                for user_id, rank, value, before in zip(user_ids, ranks, values, previous, strict=True)
                if rank is not None
            }
        except (ValueError, TypeError) as error:
            raise UnreadableError("the board holds what no board can hold") from error

    async def page(self, board: Board, size: int, after: Member | None, own: str) -> Window:
        """`size` places behind `after`, from the first one if that is None, and the place of the player `own`."""
        user_id, value = after or ("", 0.0)
        return await self._window(scripts.PAGE, board, [size, own, repr(value), user_id])

    async def around(self, board: Board, user_id: str, radius: int) -> Window:
        """The player's place with `radius` others to each side, shifted where an end of the board is nearer than that.

        No places if the player has none.
        """
        return await self._window(scripts.AROUND, board, [user_id, radius])

    async def ahead(self, board: Board, value: float, but: str) -> tuple[int, int]:
        """How many have at least this value, `but` not counted, and how many are ranked in all."""
        complete, (generation, version, ahead, total) = await self._run(scripts.AHEAD, board, [repr(value), but])
        _state(complete, generation, version)
        return int(ahead), int(total)

    async def quantile(self, board: Board, percentile: float) -> tuple[float | None, int]:
        """The least value whose owner has at least `percentile` of all at or below him, and how many are ranked."""
        complete, (generation, version, total, value) = await self._run(scripts.QUANTILE, board, [repr(percentile)])
        _state(complete, generation, version)
        return None if value is None else float(value), int(total)

    async def _window(self, script: str, board: Board, arguments: Sequence[Any]) -> Window:
        complete, (generation, version, total, start, found, previous, own) = await self._run(script, board, arguments)
        try:
            _state(complete, generation, version)
            ids = [user_id.decode() for user_id in found[::2]]
            place = None
            if own and own[0] is not None:
                place = Place(int(own[0]) + 1, float(own[1]), None if own[2] is None else int(own[2]))
            return Window(
                total=int(total),
                first=int(start) + 1,
                members=list(zip(ids, map(float, found[1::2]), strict=True)),
                previous={id_: int(rank) for id_, rank in zip(ids, previous, strict=True) if rank is not None},
                own=place,
            )
        except (ValueError, TypeError) as error:
            raise UnreadableError("the board holds what no board can hold") from error

    async def _run(self, script: str, board: Board, arguments: Sequence[Any]) -> tuple[bytes, list[Any]]:
        """The generation that is complete, and the script's answer."""
        # Waited for, not cancelled by a timeout: before Python 3.12 the driver swallows a cancellation that comes while
        # it writes, and goes on for as long as the sockets' own timeouts allow.
        work = asyncio.ensure_future(self._execute(script, board, arguments))
        work.add_done_callback(_forget)
        try:
            await asyncio.wait({work}, timeout=self._timeout)
            if not work.done():
                raise UnreadableError("redis does not answer in time")
            before, answer, after = work.result()
        except (RedisError, OSError) as error:
            raise UnreadableError(f"redis does not answer: {type(error).__name__}") from error
        finally:
            work.cancel()
        if before is None or before != after:
            raise UnreadableError("the boards are being made anew")
        return before, answer

    async def _execute(self, script: str, board: Board, arguments: Sequence[Any]) -> tuple[Any, list[Any], Any]:
        async with self._turns, self._redis.pipeline(transaction=False) as pipeline:
            # Before and after: a Redis that is emptied in between must not pass for an empty board.
            pipeline.get(GENERATION_KEY)
            pipeline.eval_ro(script, 3, board.key, board.meta_key, board.previous_key, *arguments)
            pipeline.get(GENERATION_KEY)
            before, answer, after = await pipeline.execute()
            return before, answer, after


def _forget(work: asyncio.Task[Any]) -> None:
    """Takes note of how abandoned work ended, so that nobody is told of it."""
    if not work.cancelled():
        work.exception()


def _state(complete: bytes, generation: bytes | None, version: bytes | None) -> tuple[int, int]:
    """Generation and version of a board.

    The boards of a generation are complete as one, so a board that was last written by somebody who did not know of the
    newest one yet belongs to it as well. One that is ahead is being made.
    """
    if generation is not None and int(generation) > int(complete):
        raise UnreadableError("the boards are being made anew")
    return int(complete), int(version or 0)
