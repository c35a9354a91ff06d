"""From an exception to the error that a client reads: one shape, one published reason, nothing internal.

Owns the line between what a client may read (the message of a ServiceError, what is wrong with a document) and what is only
logged (everything else). Must never repeat a value that was sent, which may be a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import structlog
from graphql import GraphQLError
from prometheus_client import Counter

from edge.graphql.execution.field_names import variable_message
from edge.http.problems import INTERNAL_ERROR
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.call_context import request_id
from services.runtime.texts import clipped

MAX_MESSAGE = 300
# How much of a message is read: a name in it may be as long as a request, and the search for values is not linear.
_MAX_READ = 2 * MAX_MESSAGE
_LONG_NAME = re.compile(r"\b(\w{40})\w{41,}")
errors_total = Counter("topten_graphql_errors_total", "Errors in GraphQL responses, by published reason", ["reason"])
Shown = dict[str, Any]
_log = structlog.get_logger("graphql")
# The words after which graphql-core repeats a value, and the string that a parser did not expect.
_VALUE = re.compile(r",? found: .*|([Vv]alue|represent[a-z ]*): .*|(?<=String) ['\"].*|([Vv]alue) ['\"].*", re.DOTALL)


def show_all(errors: Iterable[GraphQLError]) -> list[Shown]:
    """Return the errors of a result as the client reads them, in order."""
    return [show(error) for error in errors]


def show(error: GraphQLError) -> Shown:
    """Return one error as the client reads it.

    An error of a field (it has a path) that is not a ServiceError is a bug: logged whole, shown as INTERNAL. Without a path
    it is about the document or its variables, and says what is wrong with them.
    """
    original = _cause(error)
    if isinstance(original, ServiceError):
        if original.reason is Reason.INTERNAL:
            _log.error("field failed", path=_path(error), detail=original.message, exc_info=original.__cause__)
        shown = refusal(original)
    elif error.path is None and (original is None or isinstance(original, GraphQLError)):
        field, rule = variable_message(error)
        message = f"{field}: {_without_values(rule)}" if field else _without_values(rule)
        shown = refusal(ServiceError(Reason.INVALID_ARGUMENT, clipped(message, MAX_MESSAGE)))
    else:
        _log.error("field failed", path=_path(error), exc_info=original or error)
        shown = refusal(ServiceError(Reason.INTERNAL, INTERNAL_ERROR))
    if error.locations:
        shown["locations"] = [{"line": place.line, "column": place.column} for place in error.locations]
    if error.path is not None:
        shown["path"] = list(error.path)
    return shown


def refusal(error: ServiceError) -> Shown:
    """Return an error without a position in the document. Counts every error that is shown."""
    errors_total.labels(error.reason).inc()
    extensions: Shown = {"reason": error.reason, "requestId": request_id()}
    if "code" in error.metadata:  # of the protocol of persisted queries
        extensions["code"] = error.metadata["code"]
    if error.reason is Reason.PLAYER_BLOCKED:
        extensions["blockReason"] = error.metadata.get("block_reason", "")
        extensions["blockedUntil"] = error.metadata.get("expires_at") or None
    if error.violations:  # as in a problem document
        extensions["errors"] = [{"field": field, "detail": text} for field, text in error.violations]
    if error.retry_after is not None:
        extensions["retryAfter"] = max(1, round(error.retry_after.total_seconds()))
    return {"message": error.message, "extensions": extensions}


def _cause(error: GraphQLError) -> Exception | None:
    """The exception behind an error; GraphQLErrors that wrap others are unwrapped."""
    found: Exception | None = error.original_error
    while isinstance(found, GraphQLError) and found.original_error is not None:
        found = found.original_error
    return found


def _path(error: GraphQLError) -> str:
    return ".".join(map(str, error.path or ()))


def _without_values(message: str) -> str:
    """Return a message of graphql-core as whole sentences without values; long names in it are shortened."""
    text = _LONG_NAME.sub(r"\1…", message)[:_MAX_READ]
    text = _VALUE.sub(lambda match: match[1] or match[2] or "", text).rstrip(" ,:")
    return text if text.endswith((".", "?", "…")) else f"{text}."
