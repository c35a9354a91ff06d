"""Boards as Redis has them. Reads only.

Each read is one or two round trips whatever the board's size. A board is complete when its generation is the one under
`leaderboard:generation`; while the boards are being made anew that key is missing, and what is read counts for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.leaderboard.head import Head, UnreadableError
from services.runtime.boards import GENERATION_KEY, Board


class Boards:
    """Reads boards. Every method raises UnreadableError."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def head(self, board: Board, size: int) -> Head:
        """The first `size` places. The version is read before them, so that the state is at least that new."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.get(GENERATION_KEY)
        pipeline.hmget(board.meta_key, ["generation", "version"])
        pipeline.zrevrange(board.key, 0, size - 1, withscores=True)
        complete, meta, found = await self._execute(pipeline)
        generation, version = _state(complete, meta)
        members = [(user_id.decode(), float(value)) for user_id, value in found]
        return Head(generation, version, members, await self._previous(board, [user_id for user_id, _ in members]))

    async def places(
        self, board: Board, user_ids: Sequence[str]
    ) -> tuple[Mapping[str, tuple[int, float]], Mapping[str, int]]:
        """Rank (from 1) and value of each of the players who is ranked, and the places before."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.get(GENERATION_KEY)
        pipeline.hmget(board.meta_key, ["generation", "version"])
        for user_id in user_ids:
            pipeline.zrevrank(board.key, user_id, withscore=True)
        complete, meta, *found = await self._execute(pipeline)
        _state(complete, meta)
        places = {
            user_id: (int(place[0]) + 1, float(place[1]))
            for user_id, place in zip(user_ids, found, strict=True)
            if place is not None
        }
        return places, await self._previous(board, list(places))

    async def _previous(self, board: Board, user_ids: Sequence[str]) -> dict[str, int]:
        if not user_ids:
            return {}
        try:
            found = await cast("Any", self._redis.hmget(board.previous_key, list(user_ids)))
        except RedisError as error:
            raise UnreadableError(type(error).__name__) from error
        return {user_id: int(rank) for user_id, rank in zip(user_ids, found, strict=True) if rank is not None}

    @staticmethod
    async def _execute(pipeline: Any) -> list[Any]:
        try:
            answers: list[Any] = await pipeline.execute()
        except RedisError as error:
            raise UnreadableError(type(error).__name__) from error
        return answers


def _state(complete: bytes | None, meta: Sequence[bytes | None]) -> tuple[int, int]:
    """Generation and version of a board. One that nobody has written to in this generation has version 0."""
    if complete is None:
        raise UnreadableError("the boards are being made anew")
    generation, version = meta
    if generation is None or int(generation) != int(complete):
        if generation is not None and int(generation) > int(complete):
            raise UnreadableError("the boards are being made anew")
        return int(complete), 0
    return int(generation), int(version or 0)
