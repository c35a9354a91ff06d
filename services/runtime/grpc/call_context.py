"""The context of a call: its request id, its deadline and its caller.

Owns three context variables. The gRPC server and the HTTP edge set them; logs, errors and calls to upstreams read them. A
task inherits them if it is started while a call is handled.
"""

from __future__ import annotations

import re
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING

import structlog
import uuid_utils

if TYPE_CHECKING:
    from services.runtime.auth.claims import Claims

REQUEST_ID_KEY = "x-request-id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

_request_id: ContextVar[str] = ContextVar("request_id", default="")
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
_caller: ContextVar[Claims] = ContextVar("caller")


def begin_call(request_id: str | None, *, timeout: float | None = None) -> str:
    """Open the context of a call and return its request id: the given one if it is well formed, else a new one.

    `timeout` is in seconds from now and limits calls to upstreams as well.
    """
    request_id = request_id_of(request_id)
    _request_id.set(request_id)
    _deadline.set(None if timeout is None else time.monotonic() + timeout)
    structlog.contextvars.bind_contextvars(request_id=request_id)
    return request_id


def request_id_of(given: str | None) -> str:
    """Return the given request id if it is well formed, else a new one."""
    return given if given is not None and _REQUEST_ID.fullmatch(given) else new_request_id()


def new_request_id() -> str:
    """A new unique id."""
    return uuid_utils.uuid7().hex


def request_id() -> str:
    """The request id of the current call; empty outside of a call."""
    return _request_id.get()


def time_left() -> float | None:
    """Seconds until the deadline of the current call, at least 0; None without a deadline."""
    deadline = _deadline.get()
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def set_caller(claims: Claims) -> None:
    """Set the caller of the current call, after its token was verified."""
    _caller.set(claims)


def caller() -> Claims:
    """The caller of the current call. Raises LookupError outside of an authenticated call."""
    return _caller.get()
