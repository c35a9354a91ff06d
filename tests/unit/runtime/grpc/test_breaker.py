"""A breaker by its own clock: when calls pass, and what decides."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY

from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.breaker import FAILURES, PAUSE, Breaker, State
from tests.servers import unique


class AwayError(Exception):
    pass


class Upstream:
    """An upstream behind a breaker, and the time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.name = unique("upstream-")
        self.calls = 0
        self.breaker = Breaker(self.name, is_failure=lambda error: isinstance(error, AwayError), clock=lambda: self.now)

    def call(self, error: Exception | None = None) -> None:
        with self.breaker.passing():
            self.calls += 1
            if error is not None:
                raise error

    def fail(self, times: int) -> None:
        for _ in range(times):
            with pytest.raises(AwayError):
                self.call(AwayError())

    def refused(self) -> ServiceError:
        calls = self.calls
        with pytest.raises(ServiceError) as caught:
            self.call()
        assert self.calls == calls
        return caught.value

    @property
    def metric(self) -> float | None:
        return REGISTRY.get_sample_value("topten_breaker_state", {"upstream": self.name})


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


def test_it_opens_after_consecutive_failures_and_tells_when_to_retry(upstream: Upstream) -> None:
    upstream.fail(FAILURES - 1)
    upstream.call()
    upstream.fail(FAILURES - 1)
    assert upstream.metric == State.CLOSED
    upstream.fail(1)
    refusal = upstream.refused()
    assert refusal.reason is Reason.UNAVAILABLE
    assert refusal.retry_after == PAUSE
    assert upstream.metric == State.OPEN


def test_refusals_of_the_upstream_do_not_open_it(upstream: Upstream) -> None:
    for _ in range(10 * FAILURES):
        with pytest.raises(ServiceError):
            upstream.call(ServiceError(Reason.INVALID_ARGUMENT, "no"))
    assert upstream.metric == State.CLOSED


def test_after_a_pause_one_probe_at_a_time_decides(upstream: Upstream) -> None:
    upstream.fail(FAILURES)
    upstream.now = PAUSE.total_seconds()
    with upstream.breaker.passing():
        assert upstream.metric == State.HALF_OPEN
        upstream.refused()
    assert upstream.metric == State.CLOSED
    upstream.fail(FAILURES - 1)
    upstream.call()


def test_a_failed_probe_starts_another_pause(upstream: Upstream) -> None:
    upstream.fail(FAILURES)
    upstream.now = PAUSE.total_seconds()
    upstream.fail(1)
    assert upstream.metric == State.OPEN
    upstream.now *= 1.5
    upstream.refused()
    upstream.now = 2 * PAUSE.total_seconds()
    upstream.call()
    assert upstream.metric == State.CLOSED


def test_a_cancelled_probe_is_not_counted(upstream: Upstream) -> None:
    upstream.fail(FAILURES)
    upstream.now = PAUSE.total_seconds()
    with pytest.raises(asyncio.CancelledError), upstream.breaker.passing():
        raise asyncio.CancelledError
    assert upstream.metric == State.HALF_OPEN
    upstream.call()
    assert upstream.metric == State.CLOSED


def test_a_late_outcome_of_an_earlier_call_neither_opens_nor_closes(upstream: Upstream) -> None:
    with upstream.breaker.passing():
        upstream.fail(FAILURES)
    assert upstream.metric == State.OPEN
    upstream.refused()
