"""From an HTTP request to the operation that it asks for, and to the media type of its answer.

Follows GraphQL over HTTP: POST with JSON, or GET for queries alone; a batch is refused. Owns the bounds of what is read,
so that nothing behind it meets values that are too many or too deep for it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import orjson
from aiohttp import web

from services.runtime.errors import Reason, ServiceError

JSON: Final = "application/json"
GRAPHQL_JSON: Final = "application/graphql-response+json"
_ANY: Final = ("*/*", "application/*")
_DOCUMENT_ID: Final = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)
# A hundred answers, the most of any input, are three hundred values four deep. Each that is coerced costs microseconds.
MAX_VALUES: Final = 1000
MAX_VALUE_DEPTH: Final = 20


@dataclass(frozen=True)
class Operation:
    """What a request asks to be executed: a text, or the SHA-256 of one that the server knows, in hex; or both."""

    query: str
    digest: str
    variables: Mapping[str, Any] | None
    name: str | None
    may_mutate: bool


async def read_operation(request: web.Request, body_timeout: timedelta) -> Operation:
    """The operation of a request.

    Raises INVALID_ARGUMENT for one that is not well formed, DOCUMENT_TOO_COSTLY for variables of more than 1000 values
    or nested deeper than 20, and the HTTP errors 408, 413 and 415 for a body that
    does not come, is too long, or is packed or no JSON.
    """
    if request.method == "GET":
        parameters: dict[str, Any] = dict(request.query)
        for name in ("variables", "extensions"):
            if name in parameters:
                parameters[name] = _parse(parameters[name].encode())
        return _operation(parameters, may_mutate=False)
    if (
        "Content-Encoding" in request.headers
        or request.content_type != JSON
        or (request.charset or "utf-8").lower() not in ("utf-8", "utf8")
    ):
        raise web.HTTPUnsupportedMediaType
    try:
        async with asyncio.timeout(body_timeout.total_seconds()):
            body = await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    return _operation(_parse(body), may_mutate=True)


def accepted_type(request: web.Request) -> str | None:
    """The media type of the answer: the first that is accepted, JSON where none is named; None if it is none of ours."""
    accepted = request.headers.get("Accept")
    if not accepted:
        return JSON
    for part in accepted.split(","):
        name = part.partition(";")[0].strip().lower()
        if name in (GRAPHQL_JSON, JSON):
            return name
        if name in _ANY:
            return JSON
    return None


def check_variables(variables: Mapping[str, Any] | None) -> None:
    """Raises DOCUMENT_TOO_COSTLY for more than 1000 values or nesting deeper than 20; never looks at more than that."""
    level: list[Any] = [variables or {}]
    count = 0
    for _ in range(MAX_VALUE_DEPTH):
        following: list[Any] = []
        for value in level:
            inner = value.values() if isinstance(value, dict) else value
            count += len(inner)
            if count > MAX_VALUES:
                raise ServiceError(Reason.DOCUMENT_TOO_COSTLY, f"the variables have more than {MAX_VALUES} values")
            following += [each for each in inner if isinstance(each, dict | list)]
        level = following
        if not level:
            return
    raise ServiceError(Reason.DOCUMENT_TOO_COSTLY, f"the variables are nested deeper than {MAX_VALUE_DEPTH}")


def _operation(parameters: Any, *, may_mutate: bool) -> Operation:
    if isinstance(parameters, list):
        raise ServiceError(Reason.INVALID_ARGUMENT, "one operation a request: batches are not taken")
    if not isinstance(parameters, dict):
        raise ServiceError(Reason.INVALID_ARGUMENT, "the body must be a JSON object")
    query, variables, name, extensions = (
        parameters.get(key) for key in ("query", "variables", "operationName", "extensions")
    )
    if not isinstance(variables, dict | None):
        raise ServiceError(Reason.INVALID_ARGUMENT, "variables must be an object or null")
    if not isinstance(name, str | None):
        raise ServiceError(Reason.INVALID_ARGUMENT, "operationName must be a string or null")
    if not isinstance(extensions, dict | None):
        raise ServiceError(Reason.INVALID_ARGUMENT, "extensions must be an object or null")
    digest = _digest(parameters.get("documentId"), (extensions or {}).get("persistedQuery"))
    if not isinstance(query, str | None) or not (query or digest):
        raise ServiceError(Reason.INVALID_ARGUMENT, "query must be the text of a document")
    check_variables(variables)
    return Operation(query or "", digest, variables, name or None, may_mutate)


def _digest(document_id: Any, persisted: Any) -> str:
    """The digest that a request names, as trusted documents or as Apollo's persisted queries do; empty if none."""
    if document_id is None and persisted is None:
        return ""
    if document_id is None and isinstance(persisted, dict) and persisted.get("version") == 1:
        document_id = f"sha256:{persisted.get('sha256Hash')}"
    match = _DOCUMENT_ID.fullmatch(document_id) if isinstance(document_id, str) else None
    if match is None:
        raise ServiceError(Reason.INVALID_ARGUMENT, "a document is named by sha256 and 64 digits in lower-case hex")
    return match[1]


def _parse(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # also for nesting deeper than a thousand
        raise ServiceError(Reason.INVALID_ARGUMENT, "this is not JSON") from None
