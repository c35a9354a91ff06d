"""Cache of quizzes: in memory, then Redis, then the store.

Redis Pub/Sub tells every instance about an import, which expires its entry; a lost message is bounded by the time to live.
A cached quiz never goes back to an older version. Must never make a quiz depend on Redis: without Redis the store is read,
and without the store an expired entry is served, whether of a quiz or of a page of the list.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import structlog
from cachetools import LRUCache
from prometheus_client import Counter
from redis.asyncio import Redis
from topten.quiz.v1 import quiz_pb2

from services.quiz.quizzes.quiz import Quiz, from_definition
from services.quiz.quizzes.quiz_store import QuizStore, StoredQuiz
from services.runtime.errors import Reason, ServiceError
from services.runtime.stores.redis import REDIS_ERRORS, subscription

CHANNEL: Final = "quiz.changed"
MAX_QUIZZES: Final = 1000
MAX_PAGES: Final = 200
MAX_REPLACED: Final = 1000
# After a failed read of the store, expired entries are served for this long before the next attempt.
STORE_RETRY_SECONDS: Final = 5.0
REDIS_SECONDS: Final = 60
VERSION_BYTES: Final = 8
# Keeps the newer of two versions: a slow reader must not replace an import.
_PUT: Final = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 8) > string.sub(ARGV[1], 1, 8) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
"""

lookups = Counter("topten_quiz_cache_total", "Quiz lookups by the place where the quiz was found", ["result"])
_from_memory, _from_redis, _from_store, _stale = (
    lookups.labels(result) for result in ("memory", "redis", "store", "kept")
)
_log = structlog.get_logger("quiz.cache")

# The quizzes of a page, and the number of all.
_Page = tuple[list[StoredQuiz], int]


@dataclass(slots=True)
class _Entry:
    quiz: Quiz
    fresh_until: float


class ReplacedQuiz(NamedTuple):
    """A former version of a quiz, and when it was replaced. It never changes."""

    quiz: Quiz
    at: datetime


class QuizCache:
    """Looks quizzes up. Entries outlive their time to live, to be served while the store is away."""

    def __init__(self, store: QuizStore, redis: Redis, *, ttl: timedelta) -> None:
        self._store = store
        self._redis = redis
        self._ttl = ttl.total_seconds()
        self._quizzes: LRUCache[str, _Entry] = LRUCache(MAX_QUIZZES)
        self._replaced: LRUCache[tuple[str, int], ReplacedQuiz] = LRUCache(MAX_REPLACED)
        self._pages: LRUCache[tuple[str, int, str], _Page] = LRUCache(MAX_PAGES)
        self._store_away_until = float("-inf")
        self._put = redis.register_script(_PUT)

    async def quiz(self, quiz_id: str) -> Quiz:
        """Return the current quiz. Raises QUIZ_NOT_FOUND; UNAVAILABLE if no copy exists and the store does not respond."""
        entry = self._quizzes.get(quiz_id)
        now = time.monotonic()
        if entry is not None and now < entry.fresh_until:
            _from_memory.inc()
            return entry.quiz
        if entry is not None and now < self._store_away_until:
            _stale.inc()
            return entry.quiz
        try:
            stored = await self._load(quiz_id)
        except ServiceError:
            self._store_away_until = time.monotonic() + STORE_RETRY_SECONDS
            if entry is None:
                raise
            _stale.inc()
            return entry.quiz
        if stored is None:
            self._quizzes.pop(quiz_id, None)
            raise quiz_not_found(quiz_id)
        return self._keep(stored)

    async def fresh(self, quiz_id: str) -> Quiz:
        """Return the current quiz as the store has it now, past what was cached. Raises QUIZ_NOT_FOUND, UNAVAILABLE."""
        stored = await self._store.quiz(quiz_id)
        if stored is None:
            raise quiz_not_found(quiz_id)
        return self._keep(stored)

    async def replaced(self, quiz_id: str, version: int) -> ReplacedQuiz | None:
        """Return a version that was replaced; None if it is not kept, or not replaced. Raises UNAVAILABLE."""
        kept = self._replaced.get((quiz_id, version))
        if kept is None and (stored := await self._store.version(quiz_id, version)) and stored.replaced_at:
            quiz = from_definition(stored.definition, version)
            kept = self._replaced[quiz_id, version] = ReplacedQuiz(quiz, stored.replaced_at)
        return kept

    async def page(self, after: str, limit: int, tag: str) -> _Page:
        """Return what `QuizStore.quizzes` returns; while the store is away, its last response to the same arguments.

        Raises UNAVAILABLE if there was none.
        """
        key = (after, limit, tag)
        last = self._pages.get(key)
        if last is not None and time.monotonic() < self._store_away_until:
            return last
        try:
            page = self._pages[key] = await self._store.quizzes(after, limit, tag)
        except ServiceError:
            self._store_away_until = time.monotonic() + STORE_RETRY_SECONDS
            if last is None:
                raise
            return last
        return page

    async def announce(self, definition: quiz_pb2.QuizDefinition, version: int) -> None:
        """Tell every instance that a definition was stored. Without Redis they find out by their time to live."""
        self._quizzes.pop(definition.quiz_id, None)
        try:
            await self._offer(StoredQuiz(definition, version))
            await self._redis.publish(CHANNEL, definition.quiz_id)
        except REDIS_ERRORS as error:
            _log.warning("quiz change not announced", quiz_id=definition.quiz_id, error=type(error).__name__)

    async def follow_changes(self) -> None:
        """Expire the entries of changed quizzes until the subscription is lost. Raises a Redis error."""
        async with subscription(self._redis) as changes:
            await changes.subscribe(CHANNEL)
            async for message in changes.listen():
                if message["type"] == "subscribe":
                    self._expire(*self._quizzes)  # messages may have been lost before it
                elif message["type"] == "message":
                    self._expire(message["data"].decode("utf-8", "replace"))

    def forget(self) -> None:
        """Drop everything in memory: the store has other data, perhaps older versions."""
        self._quizzes.clear()
        self._replaced.clear()
        self._pages.clear()

    async def forget_shared(self) -> None:
        """Drop the copies in Redis, and make every instance read the store again. Without Redis they expire in a minute."""
        try:
            async for key in self._redis.scan_iter(match=_key("*"), count=1000):
                await self._redis.delete(key)
                await self._redis.publish(CHANNEL, key.decode().removeprefix(_key("")))
        except REDIS_ERRORS as error:
            _log.warning("quizzes not dropped from redis", error=type(error).__name__)

    async def _load(self, quiz_id: str) -> StoredQuiz | None:
        try:
            data = await self._redis.get(_key(quiz_id))
        except REDIS_ERRORS as error:
            _log.warning("quiz not read from redis", error=type(error).__name__)
            data = None
        if isinstance(data, bytes):
            _from_redis.inc()
            version = int.from_bytes(data[:VERSION_BYTES], "big")
            return StoredQuiz(quiz_pb2.QuizDefinition.FromString(data[VERSION_BYTES:]), version)
        stored = await self._store.quiz(quiz_id)
        _from_store.inc()
        if stored is not None:
            try:
                await self._offer(stored)
            except REDIS_ERRORS as error:
                _log.warning("quiz not written to redis", error=type(error).__name__)
        return stored

    async def _offer(self, stored: StoredQuiz) -> None:
        data = stored.version.to_bytes(VERSION_BYTES, "big") + stored.definition.SerializeToString()
        await self._put(keys=[_key(stored.definition.quiz_id)], args=[data, REDIS_SECONDS])

    def _keep(self, stored: StoredQuiz) -> Quiz:
        quiz = from_definition(stored.definition, stored.version)
        entry = self._quizzes.get(quiz.quiz_id)
        if entry is not None and entry.quiz.version > quiz.version:
            quiz = entry.quiz
        self._quizzes[quiz.quiz_id] = _Entry(quiz, time.monotonic() + self._ttl)
        return quiz

    def _expire(self, *quiz_ids: str) -> None:
        """Make the next lookup read them again; the entries stay for the case that nothing responds."""
        for quiz_id in quiz_ids:
            if entry := self._quizzes.get(quiz_id):
                entry.fresh_until = 0.0


def quiz_not_found(quiz_id: str) -> ServiceError:
    """Return the refusal of an ID that no quiz has."""
    hint = "" if quiz_id == quiz_id.lower() else " Quiz IDs are in lower case."
    return ServiceError(Reason.QUIZ_NOT_FOUND, f"No quiz has this ID.{hint}")


def _key(quiz_id: str) -> str:
    return f"quiz:{quiz_id}"
