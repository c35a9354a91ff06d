"""Documents that a request names by their digest instead of sending them.

Two modes that are not to be confused. *Automatic* saves bandwidth: a client teaches a document once, by sending its text
with its digest, and names it from then on (Apollo's protocol); whoever may ask may teach. *Trusted* is a wall: only the
documents of the operator's manifest are executed, by digest or by text, and nothing is ever learnt.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from edge.graphql.remembered import Remembered
from edge.graphql.requests import Operation
from services.runtime.config import ConfigError
from services.runtime.errors import Reason, ServiceError
from services.runtime.redis_client import REDIS_ERRORS, redis_client
from services.runtime.settings import RedisConfig

MAX_TEXT: Final = 16 * 1024
MAX_LOCAL: Final = 256 * 1024
MAX_SHARED: Final = 1000
SHARED_SECONDS: Final = 24 * 3600
# Redis saves a client its second try; it is not worth a wait.
ANSWER_SECONDS: Final = 0.25
TEXTS, USES = "{topten:documents}:texts", "{topten:documents}:uses"
# Both keep the order of use by Redis' clock; what is over the bounds goes when something comes.
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
_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.ASCII)
_log = structlog.get_logger("persisted")


class Texts(Protocol):
    """Where the text of an operation comes from."""

    def is_far(self, operation: Operation, /) -> bool:
        """Whether `text_of` would ask a store, which is work to be counted before it is done."""

    async def text_of(self, operation: Operation) -> str:
        """The text to execute. Raises INVALID_ARGUMENT or PERMISSION_DENIED, with the protocol's `code` beside it."""

    async def learn(self, operation: Operation) -> None:
        """Told of an operation whose text is fit for execution."""


class AnyText:
    """Executes what is sent, and knows no digests."""

    def is_far(self, _operation: Operation, /) -> bool:
        """Never: all it knows is at hand."""
        return False

    async def text_of(self, operation: Operation) -> str:
        """The text that was sent."""
        if not operation.query:
            raise _refusal("PersistedQueryNotSupported", "PERSISTED_QUERY_NOT_SUPPORTED")
        return operation.query

    async def learn(self, operation: Operation) -> None:
        """Nothing."""


class LearntTexts:
    """Remembers what clients teach: 256 KiB here, and a thousand documents for a day in the Redis that edges share.

    While Redis does not answer, each process has what it was taught itself.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._find = redis.register_script(_FIND)
        self._keep = redis.register_script(_KEEP)
        self._own: Remembered[str, str] = Remembered(MAX_LOCAL)

    def is_far(self, operation: Operation, /) -> bool:
        """Whether a digest came alone that this process does not know."""
        return not operation.query and self._own.get(operation.digest) is None

    async def text_of(self, operation: Operation) -> str:
        """The text that was sent, or the one that was taught under its digest."""
        if operation.query:
            if operation.digest and operation.digest != digest_of(operation.query):
                raise ServiceError(Reason.INVALID_ARGUMENT, "provided sha does not match query")
            return operation.query
        text = self._own.get(operation.digest)
        if text is None:
            text = await self._shared(operation.digest)
        if text is None:
            raise _refusal("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")
        return text

    async def learn(self, operation: Operation) -> None:
        """Remembers the text if its digest came along."""
        digest, text = operation.digest, operation.query
        if not (digest and text) or len(text.encode()) > MAX_TEXT or self._own.get(digest) is not None:
            return
        self._own.put(digest, text, len(text))
        await self._ask(self._keep(keys=[TEXTS, USES], args=(digest, text, MAX_SHARED, SHARED_SECONDS)))

    async def _shared(self, digest: str) -> str | None:
        found = await self._ask(self._find(keys=[TEXTS, USES], args=[digest]))
        text = found.decode(errors="replace") if isinstance(found, bytes) else ""
        if digest_of(text) != digest:  # also if somebody else wrote there
            return None
        self._own.put(digest, text, len(text))
        return text

    async def _ask(self, asking: Any) -> Any:
        """What Redis says; None if it does not."""
        try:
            return await asking
        except REDIS_ERRORS as error:
            _log.warning("documents are shared with nobody", error=type(error).__name__)
            return None


class TrustedTexts:
    """Executes the documents of a manifest alone: text by SHA-256."""

    def __init__(self, manifest: Mapping[str, str]) -> None:
        self._manifest = manifest

    def is_far(self, _operation: Operation, /) -> bool:
        """Never: all it knows is at hand."""
        return False

    async def text_of(self, operation: Operation) -> str:
        """The manifest's text; what is sent as text must be in it to the letter."""
        text = self._manifest.get(operation.digest or digest_of(operation.query))
        if text is None or operation.query not in ("", text):
            raise _refusal(
                "Only documents that the operator trusts are executed here.",
                "QUERY_NOT_IN_SAFELIST",
                Reason.PERMISSION_DENIED,
            )
        return text

    async def learn(self, operation: Operation) -> None:
        """Never."""


def digest_of(text: str) -> str:
    """SHA-256 of the text in UTF-8, in lower-case hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read_manifest(path: Path) -> dict[str, str]:
    """The trusted documents of a file: Apollo's manifest, or an object from digest to text.

    Raises ValueError for a file that is neither, or that has a text under another digest than its own.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        entries = document["operations"] if "operations" in document else document.items()
        pairs = dict((entry["id"], entry["body"]) if isinstance(entry, dict) else entry for entry in entries)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no manifest of documents: {error}") from None
    manifest = {}
    for name, text in pairs.items():
        match = _DIGEST.fullmatch(str(name))
        if match is None or not isinstance(text, str) or digest_of(text) != match[1]:
            raise ValueError(f"{path}: {name!r:.80} is not the SHA-256 of its document")
        manifest[match[1]] = text
    return manifest


@asynccontextmanager
async def open_texts(mode: str, manifest: str, page: Path, redis: RedisConfig) -> AsyncIterator[Texts]:
    """The texts of a mode: `any`, `apq` or `trusted`.

    `page` has the documents of our own page, which are trusted beside those of the manifest.

    Raises ConfigError for a manifest that is needed and can't be read.
    """
    if mode == "trusted":
        try:
            trusted = read_manifest(page) | read_manifest(Path(manifest))
        except ValueError as error:
            raise ConfigError([f"TOPTEN_EDGE_TRUSTED_DOCUMENTS={manifest!r}: {error}"]) from None
        yield TrustedTexts(trusted)
    elif mode == "apq":
        # It need not be there yet.
        options = {
            "socket_timeout": ANSWER_SECONDS,
            "socket_connect_timeout": ANSWER_SECONDS,
            "retry": Retry(NoBackoff(), 0),
        }
        async with redis_client(redis, "edge-documents", **options) as client:
            yield LearntTexts(client)
    else:
        yield AnyText()


def _refusal(message: str, code: str, reason: Reason = Reason.INVALID_ARGUMENT) -> ServiceError:
    return ServiceError(reason, message, code=code)
