"""From what came of an operation to an HTTP answer, as GraphQL over HTTP wants it.

`application/json` answers 200 wherever the request was well formed; `application/graphql-response+json` answers 400 where
the document could not be executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson
from aiohttp import web
from graphql import ExecutionResult

from edge.graphql.errors import Shown, refusal, show_all
from edge.graphql.requests import GRAPHQL_JSON
from edge.problems import HTTP_STATUS
from edge.rates.limiter import Left
from services.runtime.errors import Reason, ServiceError


class Outcome(NamedTuple):
    """A body, and whether execution began."""

    body: bytes
    begun: bool


def outcome_of(result: ExecutionResult, *, stale: bool = False) -> Outcome:
    """What is answered to an execution.

    It began if there is data, or an error of a field: those have a path, errors of the variables have none.
    """
    body: Shown = {}
    errors = result.errors or []
    if errors:
        body["errors"] = show_all(errors)
    begun = result.data is not None or any(error.path is not None for error in errors)
    if begun:
        body["data"] = result.data
    if stale:
        body["extensions"] = {"stale": True}
    return Outcome(orjson.dumps(body), begun)


def answer(outcome: Outcome, media_type: str, left: Sequence[Left] = ()) -> web.Response:
    """The answer to a request that was well formed."""
    return _response(outcome.body, media_type, 400 if media_type == GRAPHQL_JSON and not outcome.begun else 200, left)


def refused(error: ServiceError, media_type: str) -> web.Response:
    """The answer to a request that is not executed for what HTTP has a status of its own: 400, 401, 403, 429, 503."""
    status = HTTP_STATUS[error.reason]
    response = _response(orjson.dumps({"errors": [refusal(error)]}), media_type, status)
    if status == HTTP_STATUS[Reason.UNAUTHENTICATED]:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(error.retry_after.total_seconds())))
    return response


def rate_left(left: Sequence[Left]) -> str:
    """The header `RateLimit`: how many are left, and in how many seconds all are again."""
    return ", ".join([f'"{each.operation}";r={each.remaining};t={each.reset_seconds}' for each in left])


def _response(body: bytes, media_type: str, status: int, left: Sequence[Left] = ()) -> web.Response:
    """An answer; `left` is told as draft-ietf-httpapi-ratelimit-headers-10 writes it."""
    headers = {"Content-Type": f"{media_type}; charset=utf-8", "Cache-Control": "no-store"}
    if left:
        policies = (f'"{each.operation}";q={each.rate.count};w={each.rate.seconds}' for each in left)
        headers |= {"RateLimit-Policy": ", ".join(policies), "RateLimit": rate_left(left)}
    return web.Response(body=body, status=status, headers=headers)
