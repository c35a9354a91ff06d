"""The cache of prepared documents, which serves text, persisted and trusted documents alike.

Two ways to name a document by its digest, not to be confused. *Persisted* (Apollo's automatic persisted queries) saves
bandwidth: a client sends the text with its digest once, and the digest alone from then on; anybody may teach a document.
*Trusted* is a wall: only the documents of the operator's manifest are executed, by digest or by text, and none is learned.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from cachetools import LRUCache
from graphql import GraphQLSchema

from edge.config import EdgeConfig
from edge.graphql.execution.cost import Limits
from edge.graphql.execution.prepared import Prepared, prepare
from edge.graphql.execution.requests import GraphQLRequest
from edge.graphql.execution.shared_texts import SharedTexts, digest_of, open_shared_texts
from edge.http.page import PAGE_DOCUMENTS
from services.runtime.config.loading import ConfigError
from services.runtime.errors import Reason, ServiceError

# A syntax tree takes some hundred times the memory of its text.
MAX_CHARACTERS: Final = 256 * 1024
MAX_CACHED_CHARACTERS: Final = MAX_CHARACTERS // 16
_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.ASCII)


class Documents:
    """The documents of one schema, each prepared once: by text, and by digest where `shared` or `trusted` is given."""

    def __init__(
        self,
        schema: GraphQLSchema,
        limits: Limits,
        *,
        introspection: bool,
        shared: SharedTexts | None = None,
        trusted: Mapping[str, str] | None = None,
    ) -> None:
        self._schema = schema
        self._limits = limits
        self._introspection = introspection
        self._shared = shared
        self._trusted = trusted
        self._cache: LRUCache[str, Prepared] = LRUCache(MAX_CHARACTERS, getsizeof=lambda prepared: prepared.size)

    def needs_lookup(self, request: GraphQLRequest) -> bool:
        """Whether `get` would ask Redis, which is work to be rate limited before it is done."""
        return self._shared is not None and not request.query and request.digest not in self._cache

    async def get(self, request: GraphQLRequest) -> Prepared:
        """Return the document of a request.

        Raises DocumentError for an invalid document, and ServiceError: DOCUMENT_TOO_COSTLY for one that exceeds a limit,
        INVALID_ARGUMENT and PERMISSION_DENIED, with the `code` of Apollo's protocol, for one that may not be executed.
        """
        digest = digest_of(request.query) if request.query else request.digest
        self._check(request, digest)
        prepared: Prepared | None = self._cache.get(digest)
        if prepared is not None:
            return prepared
        text = request.query or await self._text(digest)
        prepared = prepare(text, digest, self._schema, self._limits, introspection=self._introspection)
        prepared.is_shared = not request.query
        if prepared.size <= MAX_CACHED_CHARACTERS:
            self._cache[digest] = prepared
        return prepared

    async def share(self, request: GraphQLRequest, prepared: Prepared) -> None:
        """Let other edges find the document of a request that teaches it, with text and digest. Call after rate limits."""
        if self._shared is not None and request.query and request.digest and not prepared.is_shared:
            prepared.is_shared = True
            await self._shared.keep(prepared.digest, request.query)

    def _check(self, request: GraphQLRequest, digest: str) -> None:
        if self._trusted is not None:
            if digest not in self._trusted or request.digest not in ("", digest):
                message = "Only documents that the operator trusts may be executed."
                raise _refusal(message, "QUERY_NOT_IN_SAFELIST", Reason.PERMISSION_DENIED)
        elif self._shared is not None:
            if request.digest not in ("", digest):
                raise ServiceError(Reason.INVALID_ARGUMENT, "provided sha does not match query")  # Apollo's words
        elif not request.query:
            raise _refusal("PersistedQueryNotSupported", "PERSISTED_QUERY_NOT_SUPPORTED")

    async def _text(self, digest: str) -> str:
        if self._trusted is not None:
            return self._trusted[digest]
        text = None if self._shared is None else await self._shared.find(digest)
        if text is None:
            raise _refusal("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")
        return text


@asynccontextmanager
async def open_documents(schema: GraphQLSchema, config: EdgeConfig) -> AsyncIterator[Documents]:
    """Open the documents of a configuration. Raises ConfigError for a manifest that is required and invalid."""
    limits = Limits(depth=config.max_depth, fields=config.max_fields, cost=config.max_cost, tokens=config.max_tokens)
    introspection = config.introspection
    if config.documents == "trusted":
        try:
            trusted = read_manifest(PAGE_DOCUMENTS)
            for path in config.trusted_documents:
                trusted |= read_manifest(Path(path))
        except ValueError as error:
            message = f"TOPTEN_EDGE_TRUSTED_DOCUMENTS={','.join(config.trusted_documents)!r}: {error}"
            raise ConfigError([message]) from None
        yield Documents(schema, limits, introspection=introspection, trusted=trusted)
    elif config.documents == "apq":
        async with open_shared_texts(config.redis) as shared:
            yield Documents(schema, limits, introspection=introspection, shared=shared)
    else:
        yield Documents(schema, limits, introspection=introspection)


def read_manifest(path: Path) -> dict[str, str]:
    """Read the trusted documents of a file: Apollo's manifest, or an object from digest to text.

    Raises ValueError for a file that is neither, or has a text under another digest than its own.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        entries = document["operations"] if "operations" in document else document.items()
        pairs = dict((entry["id"], entry["body"]) if isinstance(entry, dict) else entry for entry in entries)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a manifest of documents: {error}") from None
    manifest = {}
    for name, text in pairs.items():
        match = _DIGEST.fullmatch(str(name))
        if match is None or not isinstance(text, str) or digest_of(text) != match[1]:
            raise ValueError(f"{path}: {name!r:.80} is not the SHA-256 of its document")
        manifest[match[1]] = text
    return manifest


def _refusal(message: str, code: str, reason: Reason = Reason.INVALID_ARGUMENT) -> ServiceError:
    return ServiceError(reason, message, code=code)
