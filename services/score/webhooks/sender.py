"""Sends deliveries that are due: takes one under a lease, signs it, posts it once, and records the outcome.

Several workers do this at once; a delivery is with one of them at a time. If a worker dies after the receiver got a delivery,
it arrives again with the same `webhook-id`.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import aiohttp
import structlog
from yarl import URL

from services.runtime.clock import milliseconds_of
from services.runtime.process.lifecycle import cancel, spawn
from services.score.errors import STORE_ERRORS
from services.score.metrics import WEBHOOK_ATTEMPTS, WEBHOOK_OLDEST
from services.score.webhooks.addresses import CheckedResolver, ForbiddenAddressError, url_fault
from services.score.webhooks.backoff import pause_after
from services.score.webhooks.delivery_store import Delivery, DeliveryStore
from services.score.webhooks.signing import signed_headers
from services.score.webhooks.webhook import Webhook
from services.score.webhooks.webhook_store import WebhookStore

# Attempts of one worker. At most two are of one webhook, so that a slow receiver does not delay the others.
MAX_CONCURRENT: Final = 16
MAX_CONCURRENT_OF_WEBHOOK: Final = 2
TIMEOUT: Final = aiohttp.ClientTimeout(total=10, connect=5)
_POLL: Final = timedelta(seconds=1)
_USER_AGENT: Final = "Topten-Webhooks/1"
_log = structlog.get_logger("webhooks")


class Outcome:
    """How an attempt ended: the receiver's status, 0 without one, and why it failed; an empty error is a success."""

    __slots__ = ("error", "status")

    def __init__(self, status: int, error: str) -> None:
        self.status = status
        self.error = error


class DeliverySender:
    """Sends due deliveries, one step at a time. Hosts in `trusted` may have any address, and plain http.

    `jitter` returns a number from 0 to 1.
    """

    def __init__(
        self,
        webhooks: WebhookStore,
        deliveries: DeliveryStore,
        *,
        trusted: Collection[str],
        now: Callable[[], datetime],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._trusted = trusted
        self._now = now
        self._jitter = jitter
        self._sends: dict[asyncio.Task[None], str] = {}

    async def step(self) -> None:
        """Send until nothing is due. Raises store errors. A cancelled step ends its attempts, which are repeated later."""
        if not await self._any_waiting():
            return
        async with self._session() as session:
            try:
                while await self._take(session) or self._sends:
                    if self._sends:
                        # Others become due while these are under way.
                        await asyncio.wait(
                            self._sends, timeout=_POLL.total_seconds(), return_when=asyncio.FIRST_COMPLETED
                        )
            finally:
                await cancel(*self._sends)

    async def _take(self, session: aiohttp.ClientSession) -> bool:
        """Start attempts of due deliveries, within the limits; return whether any was started."""
        started = False
        while len(self._sends) < MAX_CONCURRENT:
            counts = Counter(self._sends.values())
            busy = [webhook_id for webhook_id, count in counts.items() if count >= MAX_CONCURRENT_OF_WEBHOOK]
            taken = await self._deliveries.take(self._now(), busy)
            if taken is None:
                break
            task = spawn("delivery", self._deliver(session, taken))
            self._sends[task] = taken.webhook_id
            task.add_done_callback(self._sends.pop)
            started = True
        return started

    async def _deliver(self, session: aiohttp.ClientSession, taken: Delivery) -> None:
        # An outcome that cannot be recorded is unknown: after the lease the delivery is sent again.
        with suppress(*STORE_ERRORS):
            webhook = await self._webhooks.find(taken.webhook_id)
            if webhook is None:
                await self._deliveries.remove(taken.webhook_id)
                return
            outcome = await self._post(session, webhook, taken)
            now = self._now()
            if not outcome.error:
                await self._deliveries.record_success(taken, outcome.status, now)
                WEBHOOK_ATTEMPTS.labels("delivered").inc()
                return
            next_at = now + pause_after(taken.attempts, self._jitter())
            is_last = await self._deliveries.record_failure(taken, outcome.status, outcome.error, next_at, now)
            WEBHOOK_ATTEMPTS.labels("dead" if is_last else "failed").inc()
            _log.warning(
                "delivery given up" if is_last else "delivery failed",
                webhook=webhook.webhook_id,
                delivery=taken.delivery_id,
                attempts=taken.attempts,
                status=outcome.status,
            )

    async def _post(self, session: aiohttp.ClientSession, webhook: Webhook, taken: Delivery) -> Outcome:
        if fault := url_fault(webhook.url, self._trusted):
            return Outcome(0, f"The address {fault}.")
        body, now = taken.body.encode(), self._now()
        headers = signed_headers(webhook.secrets(now), taken.delivery_id, milliseconds_of(now) // 1000, body)
        try:
            # The body of a response is never read. A redirect could lead anywhere, so it is a failure.
            async with session.post(URL(webhook.url), data=body, headers=headers, allow_redirects=False) as response:
                if 200 <= response.status < 300:
                    return Outcome(response.status, "")
                return Outcome(response.status, f"The receiver responded with status {response.status}.")
        except Exception as error:  # noqa: BLE001  # nothing that a receiver sends may end the process
            return Outcome(0, _explained(error))

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=CheckedResolver(self._trusted), use_dns_cache=False, force_close=True, limit=MAX_CONCURRENT
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=TIMEOUT,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": _USER_AGENT, "Content-Type": "application/json"},
        )

    async def _any_waiting(self) -> bool:
        oldest = await self._deliveries.oldest_waiting()
        WEBHOOK_OLDEST.set(0 if oldest is None else max(0.0, (self._now() - oldest).total_seconds()))
        return oldest is not None


def _explained(error: Exception) -> str:
    """Return why there was no response, for the owner of the webhook."""
    if isinstance(error, TimeoutError):
        return f"The receiver did not respond within {TIMEOUT.total:.0f} s."
    if isinstance(error, ForbiddenAddressError) or isinstance(error.__cause__, ForbiddenAddressError):
        return "The host has an address that is not public."
    if isinstance(error, aiohttp.InvalidURL):
        return "The address is malformed."
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "The host name cannot be resolved."
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return "The TLS connection failed: the certificate must be valid for the host."
    if isinstance(error, aiohttp.ClientConnectorError):
        return "The receiver does not accept connections."
    return "The connection broke before a response."
