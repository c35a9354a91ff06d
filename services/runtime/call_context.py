"""What one call carries through a process: its request id, its deadline and its caller.

Owns three context variables, set where a call comes in (gRPC server, HTTP edge) and read by logs, errors and onward
calls. A task started while a call is handled inherits them; one started before does not.
"""

from __future__ import annotations

import re
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING

import structlog
import uuid_utils

if TYPE_CHECKING:
    from services.runtime.claims import Claims

REQUEST_ID_KEY = "x-request-id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

_request_id: ContextVar[str] = ContextVar("request_id", default="")
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
_caller: ContextVar[Claims] = ContextVar("caller")


def begin_call(request_id: str | None, *, timeout: float | None = None) -> str:
    """Opens the context of a call and returns its request id: the given one if it is well formed, else a new one.

    `timeout` is in seconds from now; onward calls are held to it.
    """
    if request_id is None or not _REQUEST_ID.fullmatch(request_id):
        request_id = new_request_id()
    _request_id.set(request_id)
    _deadline.set(None if timeout is None else time.monotonic() + timeout)
    structlog.contextvars.bind_contextvars(request_id=request_id)
    return request_id


def new_request_id() -> str:
    """An id that no other call has."""
    return uuid_utils.uuid7().hex


def request_id() -> str:
    """The id of the call being handled; empty outside of one."""
    return _request_id.get()


def time_left() -> float | None:
    """Seconds until the deadline of the call being handled, never negative; None where there is none."""
    deadline = _deadline.get()
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def set_caller(claims: Claims) -> None:
    """Records who makes the call being handled; for whoever verified the token."""
    _caller.set(claims)


def caller() -> Claims:
    """Who makes the call being handled. Raises LookupError outside of an authenticated call."""
    return _caller.get()
