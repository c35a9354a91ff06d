"""Quizzes at hand: in memory, then Redis, then the store.

An import is told to every instance over Redis Pub/Sub, which drops its copy; a message that was lost is bounded by the
time a copy may be served. A copy never goes back to an older version. Must never make a quiz depend on Redis: without it
the store is asked, and without the store a copy that is at hand is served, of a page of the list as of a quiz.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from topten.quiz.v1 import quiz_pb2

from services.quiz.quiz import Quiz, from_definition
from services.quiz.store import QuizStore, StoredQuiz
from services.runtime.errors import ServiceError
from services.runtime.lifecycle import cancel, spawn
from services.runtime.redis_client import REDIS_ERRORS, subscription

CHANNEL: Final = "quiz.changed"
MAX_QUIZZES: Final = 1000
MAX_PAGES: Final = 200
# After the store did not answer, nobody who can have a copy waits for it for this long.
SILENT_SECONDS: Final = 5.0
REDIS_SECONDS: Final = 60
VERSION_BYTES: Final = 8
# Keeps the newer of two: a slow reader must not put an old version over an import.
_PUT: Final = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 8) > string.sub(ARGV[1], 1, 8) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
"""

lookups = Counter("topten_quiz_cache_total", "Quiz lookups by where the quiz was found", ["result"])
_memory, _redis, _store, _kept = (lookups.labels(result) for result in ("memory", "redis", "store", "kept"))
_log = structlog.get_logger("quiz.cache")


# Quizzes, and how many there are in all.
_Page = tuple[list[StoredQuiz], int]


@dataclass(slots=True)
class _Copy:
    quiz: Quiz
    fresh_until: float


class QuizCache:
    """A server: between `start` and `stop` it hears of changes."""

    def __init__(
        self, store: QuizStore, redis: Redis, *, ttl: timedelta, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._redis = redis
        self._ttl = ttl.total_seconds()
        self._clock = clock
        self._copies: OrderedDict[str, _Copy] = OrderedDict()
        self._pages: OrderedDict[tuple[str, int, str], _Page] = OrderedDict()
        self._silent_until = float("-inf")
        self._put = redis.register_script(_PUT)
        self._listener: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to hear of changes."""
        self._listener = spawn("quiz changes", self._listen())

    async def stop(self) -> None:
        """Stop hearing of changes."""
        if self._listener is not None:
            await cancel(self._listener)

    async def quiz(self, quiz_id: str) -> Quiz | None:
        """The quiz in force, or None. Raises UNAVAILABLE if it is nowhere at hand and the store does not answer."""
        copy = self._copies.get(quiz_id)
        if copy is not None and self._clock() < copy.fresh_until:
            self._copies.move_to_end(quiz_id)
            _memory.inc()
            return copy.quiz
        if copy is not None and self._clock() < self._silent_until:
            _kept.inc()
            return copy.quiz
        try:
            stored = await self._load(quiz_id)
        except ServiceError:
            self._silent_until = self._clock() + SILENT_SECONDS
            if copy is None:
                raise
            _kept.inc()
            return copy.quiz
        if stored is None:
            self._copies.pop(quiz_id, None)
            return None
        return self._keep(stored)

    async def page(self, after: str, limit: int, tag: str) -> _Page:
        """As `QuizStore.quizzes`; while the store does not answer, the last answer to the same question.

        Raises UNAVAILABLE if there was none.
        """
        key = (after, limit, tag)
        kept = self._pages.get(key)
        if kept is not None and self._clock() < self._silent_until:
            return kept
        try:
            found = await self._store.quizzes(after, limit, tag)
        except ServiceError:
            self._silent_until = self._clock() + SILENT_SECONDS
            if kept is None:
                raise
            return kept
        self._pages[key] = found
        self._pages.move_to_end(key)
        if len(self._pages) > MAX_PAGES:
            self._pages.popitem(last=False)
        return found

    async def changed(self, definition: quiz_pb2.QuizDefinition, version: int) -> None:
        """An import was stored: tell every instance."""
        self._copies.pop(definition.quiz_id, None)
        try:
            await self._offer(StoredQuiz(definition, version))
            await self._redis.publish(CHANNEL, definition.quiz_id)
        except REDIS_ERRORS as error:
            _log.warning("a change could not be told", quiz_id=definition.quiz_id, error=type(error).__name__)

    async def _load(self, quiz_id: str) -> StoredQuiz | None:
        try:
            data = await self._redis.get(_key(quiz_id))
        except REDIS_ERRORS as error:
            _log.warning("redis does not answer", error=type(error).__name__)
            data = None
        if isinstance(data, bytes):
            _redis.inc()
            version = int.from_bytes(data[:VERSION_BYTES], "big")
            return StoredQuiz(quiz_pb2.QuizDefinition.FromString(data[VERSION_BYTES:]), version)
        stored = await self._store.quiz(quiz_id)
        _store.inc()
        if stored is not None:
            try:
                await self._offer(stored)
            except REDIS_ERRORS as error:
                _log.warning("redis does not answer", error=type(error).__name__)
        return stored

    async def _offer(self, stored: StoredQuiz) -> None:
        data = stored.version.to_bytes(VERSION_BYTES, "big") + stored.definition.SerializeToString()
        await self._put(keys=[_key(stored.definition.quiz_id)], args=[data, REDIS_SECONDS])

    def _keep(self, stored: StoredQuiz) -> Quiz:
        held = self._copies.get(stored.definition.quiz_id)
        quiz = from_definition(stored.definition, stored.version)
        if held is not None and held.quiz.version > stored.version:
            quiz = held.quiz
        self._copies[quiz.quiz_id] = _Copy(quiz, self._clock() + self._ttl)
        self._copies.move_to_end(quiz.quiz_id)
        if len(self._copies) > MAX_QUIZZES:
            self._copies.popitem(last=False)
        return quiz

    async def _listen(self) -> None:
        while True:
            try:
                async with subscription(self._redis) as changes:
                    await changes.subscribe(CHANNEL)
                    async for message in changes.listen():
                        if message["type"] == "subscribe":
                            # Whatever was told before this moment may have been missed.
                            self._expire(None)
                        elif message["type"] == "message":
                            self._expire(message["data"].decode("utf-8", "replace"))
            except REDIS_ERRORS as error:
                _log.warning("no word of changes", error=type(error).__name__)
            await asyncio.sleep(1)

    def _expire(self, quiz_id: str | None) -> None:
        """Ask again at the next lookup; the copy stays for the case that nobody answers."""
        for held in self._copies if quiz_id is None else [quiz_id]:
            if held in self._copies:
                self._copies[held].fresh_until = 0.0


def _key(quiz_id: str) -> str:
    return f"quiz:{quiz_id}"
