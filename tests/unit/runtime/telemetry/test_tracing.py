"""Which spans there are, and what of them travels: to the next process, and to the collector."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from services.runtime.config.values import header_pairs, http_url
from services.runtime.telemetry import tracing
from tests.observability.collector import Collector, collecting

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
Configure = Callable[[float], None]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture
def configure(collector: Collector) -> Iterator[Configure]:
    """Turns tracing on, with a share of traces that are sampled; it is off again afterwards."""
    yield lambda ratio: tracing.configure(collector.address, {}, ratio, {"service.name": "test"})
    tracing.configure("", {}, 0.0, {})


def trace_of(traceparent: str) -> str:
    return traceparent.split("-")[1]


def test_without_tracing_nothing_is_propagated() -> None:
    assert not tracing.is_on()
    with tracing.request("in", CALLER, {}), tracing.step("within"), tracing.joined("batch", "consumer", [CALLER], {}):
        tracing.annotate({"a": 1}, failed=True)
        assert (tracing.header(), tracing.carried(), tracing.cause(), tracing.ids()) == ("", [], "", None)
    assert tracing.of_message(f"NATS/1.0\r\ntraceparent: {CALLER}\r\n\r\n".encode()) == ""


def test_a_valid_traceparent_is_continued_and_a_malformed_one_starts_a_trace(configure: Configure) -> None:
    configure(1.0)
    with tracing.request("in", CALLER, {}):
        assert trace_of(tracing.header()) == trace_of(CALLER)
        assert tracing.header() != CALLER
        within = tracing.header()
        with tracing.step("within", "client"):
            assert trace_of(tracing.header()) == trace_of(CALLER)
            assert tracing.header() != within
        assert tracing.header() == within
    with tracing.request("in", "00-not-a-trace", {}):
        assert trace_of(tracing.header()) not in ("not", trace_of(CALLER))


def is_sampled(traceparent: str) -> bool:
    return bool(int(traceparent.split("-")[3], 16) & 1)


def test_an_unsampled_trace_is_propagated_to_upstreams_but_not_stored(
    configure: Configure, collector: Collector
) -> None:
    configure(0.0)
    with tracing.request("in", "", {}):
        assert tracing.header()
        assert not is_sampled(tracing.header())
        assert (tracing.carried(), tracing.ids()) == ([], None)
    with tracing.request("the caller has decided", CALLER, {}):
        assert is_sampled(tracing.header())
    assert not is_sampled(tracing.header()), "background work asks nobody to begin a trace"
    tracing.configure("", {}, 0.0, {})
    assert [span.name for span in collector.spans] == ["the caller has decided"]


def test_shared_work_is_in_each_trace_once(configure: Configure) -> None:
    configure(1.0)
    with tracing.joined("batch", "consumer", [CALLER, OTHER, CALLER], {}):
        assert [trace_of(each) for each in tracing.carried()] == [trace_of(CALLER), trace_of(OTHER)]
        with tracing.step("within"):
            assert [trace_of(each) for each in tracing.carried()] == [trace_of(CALLER), trace_of(OTHER)]
    with tracing.joined("batch", "consumer", [], {}):
        assert tracing.carried() == []
    many = [f"00-{number:032x}-{number:016x}-01" for number in range(1, 100)]
    with tracing.joined("batch", "consumer", many, {}):
        assert len(tracing.carried()) == tracing.MAX_JOINED


def test_a_trace_is_found_among_the_headers_of_a_message(configure: Configure) -> None:
    configure(1.0)
    assert tracing.of_message(f"NATS/1.0\r\nNats-Msg-Id: x\r\ntraceparent: {CALLER}\r\n\r\n".encode()) == CALLER
    assert tracing.of_message(b"NATS/1.0\r\nNats-Msg-Id: traceparent:x\r\n\r\n") == ""
    assert tracing.of_message(b"") == ""


@pytest.mark.parametrize("text", ["collector:4318", "ftp://collector", "http://", "http://a b", "http://c?x=1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="http"):
        http_url(text)


@pytest.mark.parametrize("text", ["key", "=value", "a=b,c", "a b=c", "a=b\nc=d"])
def test_malformed_headers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="name=value"):
        header_pairs(text)
    assert header_pairs("dd-api-key=1234,x-a=b c") == "dd-api-key=1234,x-a=b c"
