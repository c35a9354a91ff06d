"""Errors outside GraphQL: problem details (RFC 9457) with the published reason as `code`.

Must never expose more of an error than its reason and its message.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import grpc
import orjson
from aiohttp import web

from services.runtime.errors import STATUS, Reason, ServiceError
from services.runtime.grpc.call_context import request_id

CONTENT_TYPE = "application/problem+json"
INTERNAL_ERROR = "Internal error. Quote this request ID when you report it."
_HTTP_STATUS_OF: Final[dict[grpc.StatusCode, int]] = {
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.INTERNAL: 500,
}
HTTP_STATUS: Final[dict[Reason, int]] = {reason: _HTTP_STATUS_OF[STATUS[reason]] for reason in Reason} | {
    Reason.CURSOR_EXPIRED: 410,
    Reason.DOCUMENT_TOO_COSTLY: 400,
}

_HTTP_DETAILS = {
    404: "Not found. Check the path.",
    405: "Method not allowed. See the Allow header.",
    406: "No acceptable media type. Accept application/json or application/graphql-response+json; on the stream, "
    "text/event-stream.",
    408: "The request body did not arrive in time. Send the request again.",
    413: "Request body too large: at most {limit} bytes.",
    415: "Unsupported media type. Send uncompressed JSON in UTF-8 as application/json.",
}


def problem(error: ServiceError, request: web.BaseRequest, *, status: int | None = None) -> web.Response:
    """Return the response to a request that failed with `error`; `status` overrides the status of its reason."""
    code = status or HTTP_STATUS[error.reason]
    body = {
        "type": "about:blank",
        "title": HTTPStatus(code).phrase,
        "status": code,
        "detail": error.message,
        "instance": request.path,
        "code": error.reason,
        "requestId": request_id(),
    }
    if error.violations:
        body["errors"] = [{"field": field, "detail": text} for field, text in error.violations]
    response = web.Response(body=orjson.dumps(body), status=code, content_type=CONTENT_TYPE)
    response.headers["Cache-Control"] = "no-store"
    if code == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = challenge(error, request)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(error.retry_after.total_seconds())))
    return response


def challenge(error: ServiceError, request: web.BaseRequest) -> str:
    """Return WWW-Authenticate for a refused caller: with the reason if they sent a token, without if not (RFC 6750, 3)."""
    if "Authorization" not in request.headers and "token" not in request.query:
        return "Bearer"
    description = "".join(each for each in error.message if each.isascii() and each.isprintable() and each not in '"\\')
    return f'Bearer error="invalid_token", error_description="{description}"'


def problem_of_http(error: web.HTTPException, request: web.Request) -> web.Response:
    """Return the response to a request that HTTP itself refuses: unknown path, wrong method, oversized body."""
    reason = Reason.INVALID_ARGUMENT if error.status < HTTPStatus.INTERNAL_SERVER_ERROR else Reason.INTERNAL
    detail = _HTTP_DETAILS.get(error.status, f"{error.reason}.").format(limit=request.client_max_size)
    response = problem(ServiceError(reason, detail), request, status=error.status)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
