"""Errors of everything that is not GraphQL: problem details (RFC 9457), with the published reason as `code`.

Must never show more of an error than its reason and its one sentence for people.
"""

from __future__ import annotations

from http import HTTPStatus

import orjson
from aiohttp import web

from services.runtime.call_context import request_id
from services.runtime.errors import Reason, ServiceError

CONTENT_TYPE = "application/problem+json"
HTTP_STATUS: dict[Reason, int] = {
    Reason.UNAUTHENTICATED: 401,
    Reason.CREDENTIALS_INVALID: 401,
    Reason.PERMISSION_DENIED: 403,
    Reason.PLAYER_BLOCKED: 403,
    Reason.INVALID_ARGUMENT: 400,
    Reason.DOCUMENT_TOO_COSTLY: 400,
    Reason.QUIZ_NOT_FOUND: 404,
    Reason.PLAYER_NOT_FOUND: 404,
    Reason.BOARD_NOT_FOUND: 404,
    Reason.USERNAME_TAKEN: 409,
    Reason.ACTION_ID_CONFLICT: 409,
    Reason.ATTEMPTS_EXHAUSTED: 409,
    Reason.QUIZ_CLOSED: 409,
    Reason.TIMESTAMP_OUT_OF_WINDOW: 409,
    Reason.CURSOR_EXPIRED: 410,
    Reason.RATE_LIMITED: 429,
    Reason.UNAVAILABLE: 503,
    Reason.INTERNAL: 500,
}


def problem(error: ServiceError, request: web.BaseRequest, *, status: int | None = None) -> web.Response:
    """The answer to a request that failed with `error`; `status` overrides the status of its reason."""
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
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(error.retry_after.total_seconds())))
    return response


def problem_of_http(error: web.HTTPException, request: web.Request) -> web.Response:
    """The answer to a request that HTTP itself refused: no such path, no such method, a body that is too long."""
    reason = Reason.INVALID_ARGUMENT if error.status < HTTPStatus.INTERNAL_SERVER_ERROR else Reason.INTERNAL
    detail = HTTPStatus(error.status).description or error.reason
    response = problem(ServiceError(reason, detail), request, status=error.status)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
