"""Texts of persisted documents in the Redis that edges share: a thousand of them, for a day after their last use.

A document that a client registers at one edge is found here by the others. Never trusted: a text with another digest than its
key is ignored. Optional: while Redis does not respond, each edge knows the documents that were registered with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from services.runtime.config.settings import RedisConfig
from services.runtime.stores.redis import REDIS_ERRORS, redis_client

MAX_TEXT_BYTES: Final = 16 * 1024
MAX_TEXTS: Final = 1000
LIFETIME_SECONDS: Final = 24 * 3600
# Redis saves a client its second try; it is not worth a longer wait.
ANSWER_SECONDS: Final = 0.25
TEXTS, USES = "{topten:documents}:texts", "{topten:documents}:uses"
# Both keep the order of use by Redis' clock; a new text evicts what exceeds the bounds.
_FIND: Final = """
local text = redis.call('HGET', KEYS[1], ARGV[1])
if text then redis.call('ZADD', KEYS[2], redis.call('TIME')[1], ARGV[1]) end
return text
"""
_KEEP: Final = """
local now = tonumber(redis.call('TIME')[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], now, ARGV[1])
local over = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[4])
local spare = redis.call('ZCARD', KEYS[2]) - #over - ARGV[3]
if spare > 0 then
  for _, name in ipairs(redis.call('ZRANGE', KEYS[2], #over, #over + spare - 1)) do over[#over + 1] = name end
end
for _, name in ipairs(over) do
  redis.call('HDEL', KEYS[1], name)
  redis.call('ZREM', KEYS[2], name)
end
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
"""
_log = structlog.get_logger("documents")


class SharedTexts:
    """The shared texts, by digest."""

    def __init__(self, redis: Redis) -> None:
        self._find = redis.register_script(_FIND)
        self._keep = redis.register_script(_KEEP)

    async def find(self, digest: str) -> str | None:
        """Return the text with this digest, None if nobody has taught it or Redis does not answer."""
        answer = await self._answer(self._find(keys=[TEXTS, USES], args=[digest]))
        text = answer.decode(errors="replace") if isinstance(answer, bytes) else ""
        return text if digest_of(text) == digest else None

    async def keep(self, digest: str, text: str) -> None:
        """Share a text, unless it is longer than 16 KiB."""
        if len(text.encode()) <= MAX_TEXT_BYTES:
            await self._answer(self._keep(keys=[TEXTS, USES], args=(digest, text, MAX_TEXTS, LIFETIME_SECONDS)))

    async def _answer(self, asking: Any) -> Any:
        try:
            return await asking
        except REDIS_ERRORS as error:
            _log.warning("persisted documents not shared", error=type(error).__name__)
            return None


@asynccontextmanager
async def open_shared_texts(config: RedisConfig) -> AsyncIterator[SharedTexts]:
    """Open the shared texts of this Redis, which need not be up yet."""
    options = {
        "socket_timeout": ANSWER_SECONDS,
        "socket_connect_timeout": ANSWER_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }
    async with redis_client(config, "edge-documents", **options) as client:
        yield SharedTexts(client)


def digest_of(text: str) -> str:
    """Return the SHA-256 of the text in UTF-8, in lower-case hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
