"""Why accepted events wait: `verify` and `doctor` name what is missing on the way to the ledger, and its runbook."""

from __future__ import annotations

import nats
import pytest
from nats.js.api import ConsumerConfig, RetentionPolicy, StreamConfig

from services.cli.audit.waiting import OUTBOX_LAG, cause_of_waiting
from services.cli.diagnosis.store_checks import check_stores
from services.cli.system.client import Endpoints
from services.diagnosis.checks import ATTEMPTS_OVERDUE, UNCOUNTED, check_pipeline
from services.diagnosis.process_status import ProcessStatus
from services.streams import QUIZ_STREAM, QUIZ_SUBJECT, SCORE_DURABLE
from tests.servers import running


async def findings(url: str) -> set[tuple[str, str]]:
    """Text and runbook of everything that `doctor` finds wrong with the way of events at this NATS."""
    checks = await check_stores({"nats": url}, "topten", [])
    return {(one.text, one.runbook) for one in checks if one.runbook == UNCOUNTED}


async def test_missing_stream_missing_consumer_and_outbox_behind_are_told_apart() -> None:
    async with running("nats") as server:
        endpoints = Endpoints({"stores": {"nats": server.url}})
        client = await nats.connect(server.url)
        jetstream = client.jetstream()

        cause = await cause_of_waiting(endpoints)
        assert (cause.runbook, "is missing" in cause.text) == (UNCOUNTED, True)
        assert await findings(server.url) == {(f"stream {QUIZ_STREAM} is missing", UNCOUNTED)}

        stream = StreamConfig(name=QUIZ_STREAM, subjects=[f"{QUIZ_SUBJECT}.>"], retention=RetentionPolicy.WORK_QUEUE)
        await jetstream.add_stream(stream)
        cause = await cause_of_waiting(endpoints)
        assert (cause.runbook, "has no consumer" in cause.text) == (UNCOUNTED, True)
        assert await findings(server.url) == {("none counts events", UNCOUNTED)}

        await jetstream.add_consumer(QUIZ_STREAM, ConsumerConfig(durable_name=SCORE_DURABLE))
        cause = await cause_of_waiting(endpoints)
        assert (cause.runbook, "outboxes" in cause.text) == (OUTBOX_LAG, True)
        assert await findings(server.url) == set()
        await client.close()


@pytest.mark.parametrize(
    ("metric", "subject", "runbook"),
    [
        ("topten_outbox_lag_seconds", "outbox", OUTBOX_LAG),
        ("topten_uncounted_seconds", "uncounted events", UNCOUNTED),
        ("topten_attempt_overdue_seconds", "attempts", ATTEMPTS_OVERDUE),
    ],
)
def test_what_waits_for_more_than_a_minute_is_a_finding(metric: str, subject: str, runbook: str) -> None:
    def found(seconds: float) -> str:
        samples = {(metric, frozenset[tuple[str, str]]()): seconds}
        return {one.subject: one.runbook for one in check_pipeline([ProcessStatus("score", samples)])}[subject]

    assert (found(59), found(61)) == ("", runbook)
