"""Why accepted events wait: what is missing on their way from the record to the ledger."""

from __future__ import annotations

from typing import NamedTuple

import nats
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from services.cli.system.client import Endpoints
from services.diagnosis.checks import RUNBOOKS, STORE_AWAY, UNCOUNTED
from services.streams import QUIZ_STREAM, SCORE_DURABLE

OUTBOX_LAG = f"{RUNBOOKS}toptenoutboxlag"
NATS_SECONDS = 2


class Cause(NamedTuple):
    """The first thing that is missing, and the runbook for it."""

    text: str
    runbook: str


async def cause_of_waiting(endpoints: Endpoints) -> Cause:
    """Look at the stream and its consumers."""
    try:
        return await _stream_cause(endpoints.document["stores"]["nats"])
    except (NatsError, TimeoutError, OSError) as error:
        return Cause(f"NATS does not respond ({type(error).__name__})", STORE_AWAY)


async def _stream_cause(url: str) -> Cause:
    """Return what is wrong with the stream. Raises NATS errors."""

    async def ignore(_error: Exception) -> None:
        """Leave a refused connection to the exception that follows."""

    client = await nats.connect(
        url, connect_timeout=NATS_SECONDS, max_reconnect_attempts=0, allow_reconnect=False, error_cb=ignore
    )
    try:
        jetstream = client.jetstream(timeout=NATS_SECONDS)
        consumers = await jetstream.consumers_info(QUIZ_STREAM)
    except NotFoundError:
        return Cause(f"the stream {QUIZ_STREAM} is missing, and quiz did not create it", UNCOUNTED)
    finally:
        await client.close()
    if not any(consumer.name.startswith(SCORE_DURABLE) for consumer in consumers):
        return Cause(f"the stream {QUIZ_STREAM} has no consumer: no score process runs", UNCOUNTED)
    return Cause("the outboxes of quiz and identity are behind", OUTBOX_LAG)
