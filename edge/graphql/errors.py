"""From an exception to what a client may read of it: one shape, one published reason, never an internal.

Owns the line between what is told (a ServiceError's own sentence, what is wrong with the document) and what is only
logged (everything else). Must never repeat a value that was sent: it may be a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import structlog
from graphql import GraphQLError
from prometheus_client import Counter

from services.runtime.call_context import request_id
from services.runtime.errors import Reason, ServiceError

MAX_MESSAGE = 300
# What is looked at of a message: a name in it may be as long as a request, and the search for values is not linear.
_MAX_READ = 2 * MAX_MESSAGE
errors_total = Counter(
    "topten_graphql_errors_total", "Errors in answers to GraphQL, by their published reason", ["reason"]
)
Shown = dict[str, Any]
_log = structlog.get_logger("graphql")
# What graphql-core writes a value behind, and the string that a parser did not expect.
_VALUE = re.compile(r"(,? found|[Vv]alue|represent[a-z ]*): .*|(?<=String) ['\"].*|([Vv]alue) ['\"].*", re.DOTALL)


def show_all(errors: Iterable[GraphQLError]) -> list[Shown]:
    """The errors of a result, in order."""
    return [show(error) for error in errors]


def show(error: GraphQLError) -> Shown:
    """One error as the client reads it.

    An error of a field (it has a path) that is no ServiceError is a fault of ours: logged whole, shown as INTERNAL.
    Without a path it is about the document or its variables, and says what is wrong with them.
    """
    original = _cause(error)
    if isinstance(original, ServiceError):
        if original.reason is Reason.INTERNAL:
            _log.error("a field failed", path=_path(error), detail=original.message, exc_info=original.__cause__)
        shown = refusal(original)
    elif error.path is None and (original is None or isinstance(original, GraphQLError)):
        shown = refusal(ServiceError(Reason.INVALID_ARGUMENT, _without_values(error.message)))
    else:
        _log.error("a field failed", path=_path(error), exc_info=original or error)
        shown = refusal(ServiceError(Reason.INTERNAL, "A fault of the server's own; the request id finds it."))
    if error.locations:
        shown["locations"] = [{"line": place.line, "column": place.column} for place in error.locations]
    if error.path is not None:
        shown["path"] = list(error.path)
    return shown


def refusal(error: ServiceError) -> Shown:
    """An error without a place in the document; each that is shown is counted here."""
    errors_total.labels(error.reason).inc()
    extensions: Shown = {"reason": error.reason, "requestId": request_id()}
    if "code" in error.metadata:  # what the protocol of persisted documents calls it
        extensions["code"] = error.metadata["code"]
    if error.retry_after is not None:
        extensions["retryAfter"] = max(1, round(error.retry_after.total_seconds()))
    return {"message": error.message, "extensions": extensions}


def _cause(error: GraphQLError) -> Exception | None:
    """What the error was made of; a GraphQLError that wraps another one is unwrapped."""
    found: Exception | None = error.original_error
    while isinstance(found, GraphQLError) and found.original_error is not None:
        found = found.original_error
    return found


def _path(error: GraphQLError) -> str:
    return ".".join(map(str, error.path or ()))


def _without_values(message: str) -> str:
    return _VALUE.sub(lambda match: match[1] or match[2] or "", message[:_MAX_READ]).rstrip(" ,:")[:MAX_MESSAGE]
