"""From an HTTP request to a GraphQL request, and to the media type of its response.

Follows GraphQL over HTTP: POST with JSON, or GET for queries alone; batches are refused. Owns the bounds of what is read, so
that nothing behind it meets values that are too many or too deep for it.
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

from edge.http.accept import accepted_by
from services.runtime.errors import Reason, ServiceError

JSON: Final = "application/json"
GRAPHQL_JSON: Final = "application/graphql-response+json"
_DOCUMENT_ID: Final = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)
# A hundred answers, the largest input of all, are three hundred values four deep. Each that is coerced costs microseconds.
MAX_VALUES: Final = 1000
MAX_VALUE_DEPTH: Final = 20


@dataclass(frozen=True, slots=True)
class GraphQLRequest:
    """A request: the text of a document, or the SHA-256 of one that the server has, in hex; or both."""

    query: str = ""
    digest: str = ""
    variables: Mapping[str, Any] | None = None
    operation_name: str | None = None
    may_mutate: bool = True


async def read_source(request: web.Request, body_timeout: timedelta) -> bytes:
    """Return the bytes that say what is requested: the body of POST, or `?` and the query string of GET.

    Raises the HTTP errors 408, 413 and 415 for a body that does not arrive, is too long, or is compressed or not JSON.
    """
    if request.method == "GET":
        return f"?{request.rel_url.raw_query_string}".encode()
    if "Content-Encoding" in request.headers or not _is_json(request):
        raise web.HTTPUnsupportedMediaType
    return await _body(request, body_timeout)


def parse_request(request: web.Request, source: bytes) -> GraphQLRequest:
    """Parse the GraphQL request of an HTTP request, whose source was read.

    Raises INVALID_ARGUMENT for a malformed one, DOCUMENT_TOO_COSTLY for variables with more than 1000 values or nested
    deeper than 20.
    """
    if request.method != "GET":
        return _request(_parse(source), may_mutate=True)
    parameters: dict[str, Any] = dict(request.query)
    for name in ("variables", "extensions"):
        if name in parameters:
            parameters[name] = _parse(parameters[name].encode())
    return _request(parameters, may_mutate=False)


def accepted_type(request: web.Request) -> str | None:
    """Return the media type of the response that the client prefers, JSON by default; None if it accepts none of ours."""
    return accepted_by(request, (JSON, GRAPHQL_JSON), default=JSON)


def check_variables(variables: Mapping[str, Any] | None) -> None:
    """Raise DOCUMENT_TOO_COSTLY for more than 1000 values or nesting deeper than 20; look at no more than that."""
    level: list[Any] = [variables or {}]
    count = 0
    for _ in range(MAX_VALUE_DEPTH):
        following: list[Any] = []
        for value in level:
            inner = value.values() if isinstance(value, dict) else value
            count += len(inner)
            if count > MAX_VALUES:
                raise ServiceError(
                    Reason.DOCUMENT_TOO_COSTLY, f"The variables have too many values; the limit is {MAX_VALUES}."
                )
            following += [each for each in inner if isinstance(each, dict | list)]
        level = following
        if not level:
            return
    raise ServiceError(
        Reason.DOCUMENT_TOO_COSTLY, f"The variables are nested too deep; the limit is {MAX_VALUE_DEPTH} levels."
    )


def _is_json(request: web.Request) -> bool:
    """Whether the media type of the body is JSON in UTF-8."""
    if request.headers.get("Content-Type") == JSON:  # as most clients write it
        return True
    return request.content_type == JSON and (request.charset or "utf-8").lower() in ("utf-8", "utf8")


async def _body(request: web.Request, timeout: timedelta) -> bytes:
    if request.content.is_eof():  # it came with the head, as nearly every body does
        body = request.content.read_nowait()
        if len(body) > request.client_max_size:
            raise web.HTTPRequestEntityTooLarge(request.client_max_size)
        return body
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None


def _request(parameters: Any, *, may_mutate: bool) -> GraphQLRequest:
    if isinstance(parameters, list):
        raise _invalid("Batches are not supported. Send one operation per request.")
    if not isinstance(parameters, dict):
        raise _invalid("The body must be a JSON object.")
    query, variables, name, extensions = map(parameters.get, ("query", "variables", "operationName", "extensions"))
    if not isinstance(variables, dict | None):
        raise _invalid("variables must be an object or null.")
    if not isinstance(name, str | None):
        raise _invalid("operationName must be a string or null.")
    if not isinstance(extensions, dict | None):
        raise _invalid("extensions must be an object or null.")
    digest = _digest(parameters.get("documentId"), (extensions or {}).get("persistedQuery"))
    if not isinstance(query, str | None) or not (query or digest):
        raise _invalid("query must be the text of a document.")
    check_variables(variables)
    return GraphQLRequest(query or "", digest, variables, name or None, may_mutate)


def _digest(document_id: Any, persisted: Any) -> str:
    """The digest that a request names, as trusted documents or as Apollo's persisted queries do; empty if none."""
    if document_id is None and persisted is None:
        return ""
    if document_id is None and isinstance(persisted, dict) and persisted.get("version") == 1:
        document_id = f"sha256:{persisted.get('sha256Hash')}"
    match = _DOCUMENT_ID.fullmatch(document_id) if isinstance(document_id, str) else None
    if match is None:
        raise _invalid("A document ID must be sha256: and 64 lower-case hex digits.")
    return match[1]


def _parse(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # also for nesting deeper than a thousand
        raise _invalid("The request is not valid JSON.") from None


def _invalid(message: str) -> ServiceError:
    return ServiceError(Reason.INVALID_ARGUMENT, message)
