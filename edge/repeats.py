"""Requests that come again to the letter, answered before they are parsed.

A client that asks for a board again and again sends the same bytes each time. From the same peer they are the same
request, so whatever was found out about it alone holds: who asks, from where, for what, and the head of the answer. What
may have changed meanwhile is looked at each time: whether the answer is still the one that is held, the token's expiry
and its session, what is paid for of the caller's and the address's rate, and whether the process may take on more.

So it answers exactly what the long way (parser, routes, middlewares, handler) would, and is asked first; wherever it can't
tell, it says nothing. Must never wait.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.helpers import rfc822_formatted_time
from prometheus_client import Counter

from edge.graphql.answers import Answers, Key
from edge.graphql.responses import rate_left
from edge.rates.limiter import Limiter
from edge.record import Record
from edge.stream.sessions import Sessions
from services.runtime import tracing
from services.runtime.admission import Admission
from services.runtime.call_context import new_request_id
from services.runtime.claims import Claims

MAX_KNOWN: Final = 10_000
MAX_BYTES: Final = 16 * 1024
# Of the head of an answer: what is made anew for each.
_CHANGING: Final = frozenset({"Content-Length", "Date", "RateLimit", "X-Request-Id"})
# Of a request: what asks for more than its answer, or for an id of its own.
_SINGULAR: Final = ("Expect", "Upgrade", "X-Request-Id")
_repeated = Counter(
    "topten_answers_repeated_total", "Answers to requests that came again to the letter, without parsing them"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request that was answered from `Answers` turned out to be."""

    key: Key
    claims: Claims
    address: str


ASKED: Final = web.RequestKey("asked", Asked)


@dataclass(frozen=True, slots=True)
class _Known:
    asked: Asked
    method: str
    path: str
    head: bytes


class Repeats:
    """The requests that one process knows, the least recently seen forgotten first. They are known by a digest alone."""

    def __init__(
        self, answers: Answers, sessions: Sessions, limiter: Limiter, admission: Admission, record: Record
    ) -> None:
        self._answers = answers
        self._sessions = sessions
        self._limiter = limiter
        self._admission = admission
        self._record = record
        self._known: OrderedDict[tuple[bytes, str], _Known] = OrderedDict()

    def answer(self, data: bytes, peer: str) -> bytes | None:
        """The whole answer to the request `data` of `peer`; None if the long way has to be gone."""
        if len(data) > MAX_BYTES:
            return None
        begun = time.perf_counter()
        key = hashlib.sha256(data).digest(), peer
        known = self._known.get(key)
        if known is None:
            return None
        asked = known.asked
        kept = self._answers.get(asked.key)
        if kept is None or asked.claims.expires_at <= time.time() or self._admission.is_full:
            return None
        if self._sessions.has_ended(asked.claims.session_id):
            return None
        left = self._limiter.take_paid("query", caller=asked.claims.user_id, address=asked.address, count=kept.fields)
        if left is None:
            return None
        self._known.move_to_end(key)
        request_id = new_request_id()
        rate = f"RateLimit: {rate_left(left[:1])}\r\n" if left else ""
        changing = (
            f"{rate}X-Request-Id: {request_id}\r\nDate: {rfc822_formatted_time()}\r\n"
            f"Content-Length: {len(kept.body)}\r\n\r\n"
        )
        _repeated.inc()
        self._record.answered(
            known.method,
            known.path,
            200,
            time.perf_counter() - begun,
            path=known.path,
            client=asked.address,
            request_id=request_id,
        )
        return b"".join((known.head, changing.encode(), kept.body))

    def learn(self, data: bytes, peer: str, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Told of an answered request, which `data` is, no more and no less; remembers it if it may be repeated."""
        asked = request.get(ASKED)
        if asked is None or response.status != 200 or tracing.is_on() or len(data) > MAX_BYTES:
            return
        if asked.claims.issuer:  # his account is asked for again every minute
            return
        if request.version != HttpVersion11 or not response.keep_alive:
            return
        if any(name in request.headers for name in _SINGULAR):
            return
        lines = [f"{name}: {value}\r\n" for name, value in response.headers.items() if name not in _CHANGING]
        head = "".join(("HTTP/1.1 200 OK\r\n", *lines)).encode()
        self._known[hashlib.sha256(data).digest(), peer] = _Known(asked, request.method, request.path, head)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
