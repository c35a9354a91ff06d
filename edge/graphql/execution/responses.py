"""From the result of an execution to an HTTP response, as GraphQL over HTTP requires.

`application/json` has status 200 wherever the request was well formed; `application/graphql-response+json` has 400 where
the document could not be executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson
from aiohttp import web
from graphql import ExecutionResult

from edge.graphql.execution.errors import Shown, refusal, show_all
from edge.graphql.execution.requests import GRAPHQL_JSON, JSON
from edge.http.answer import Answer
from edge.http.problems import HTTP_STATUS, challenge
from edge.rates.limiter import Left
from edge.times import format_time
from services.runtime.errors import Reason, ServiceError


def _headers(media_type: str) -> dict[str, str]:
    return {"Content-Type": f"{media_type}; charset=utf-8", "Cache-Control": "no-store"}


_FIELDS: Final = {
    media_type: "".join(f"{name}: {value}\r\n" for name, value in _headers(media_type).items())
    for media_type in (JSON, GRAPHQL_JSON)
}


class Outcome(NamedTuple):
    """A body, and whether execution began."""

    body: bytes
    begun: bool


def outcome_of(result: ExecutionResult, *, stale: bool = False, frozen_since: datetime | None = None) -> Outcome:
    """Return the outcome of an execution; its `extensions` say `stale`, and since when a board is frozen, if so.

    It began if there is data, or an error of a field: those have a path, errors of the variables have none.
    """
    body: Shown = {}
    errors = result.errors or []
    if errors:
        body["errors"] = show_all(errors)
    begun = result.data is not None or any(error.path is not None for error in errors)
    if begun:
        body["data"] = result.data
    extensions: dict[str, Any] = {}
    if stale:
        extensions["stale"] = True
    if frozen_since is not None:
        extensions["frozenSince"] = format_time(frozen_since)
    if extensions:
        body["extensions"] = extensions
    return Outcome(orjson.dumps(body), begun)


def answered(outcome: Outcome, media_type: str, left: Sequence[Left]) -> Answer:
    """Return the response to a well-formed request; `left` is written as in draft-ietf-httpapi-ratelimit-headers-10."""
    fields = _FIELDS[media_type]
    if left:
        policies = ", ".join([each.policy for each in left])
        states = ", ".join([f'"{each.operation}";r={each.remaining};t={each.reset_seconds}' for each in left])
        fields = f"{fields}RateLimit-Policy: {policies}\r\nRateLimit: {states}\r\n"
    return Answer(outcome.body, fields, status=400 if media_type == GRAPHQL_JSON and not outcome.begun else 200)


def refused(error: ServiceError, media_type: str, request: web.Request) -> web.Response:
    """Return the response to a request that is not executed and for which HTTP has a status: 400, 401, 403, 429, 503."""
    status = HTTP_STATUS[error.reason]
    body = orjson.dumps({"errors": [refusal(error)]})
    response = web.Response(body=body, status=status, headers=_headers(media_type))
    if status == HTTP_STATUS[Reason.UNAUTHENTICATED]:
        response.headers["WWW-Authenticate"] = challenge(error, request)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(error.retry_after.total_seconds())))
    return response
