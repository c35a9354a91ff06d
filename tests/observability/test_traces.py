"""One action is one trace, from the request to the screens, through every process."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from services.cli.system.client import GraphqlClient, GraphqlError
from tests.deadline import deadline, deadline_seconds, eventually
from tests.observability.collector import API_KEY, Collector, Span
from tests.observability.scenario import COUNTRIES, QUIZ, RIGHT, stopped
from tests.players import PASSWORD, Player, endpoints, register, shows, stream, until
from tests.servers import RunningStack

FORGED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def arrived(collector: Collector, holds: Callable[[list[Span]], bool], since: int) -> list[Span]:
    """Wait until the condition holds for the spans that began at that time or later, and return them.

    The time, in nanoseconds, leaves out spans of earlier tests, which the exporters of five processes may send late.
    """
    spans: list[Span] = []
    try:
        async with asyncio.timeout(deadline_seconds()):
            while not holds(spans := collector.since(since)):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError("\n".join(f"{span.service} {span.name} {span.trace}" for span in spans)) from None
    return spans


async def played(stack: RunningStack) -> AsyncIterator[Player]:
    """A player whose action reaches the screen after the caller's code."""
    async with GraphqlClient(endpoints(stack).graphql) as client:
        country = next(COUNTRIES)
        player = await register(client, country=country)
        async with stream(stack.http, player.access_token, f"country:{country}") as events:
            await until(events, lambda _: True)
            yield player
            await player.submit(QUIZ, RIGHT)
            await until(events, shows(player.username, 5))


def complete(spans: list[Span]) -> str:
    """Return the ID of a complete trace from a submission to a frame on screens; empty if there is none yet."""
    shown = {span.trace for span in spans if span.name == "show"}
    for trace_id in {span.trace for span in spans if span.name == "publish quiz.events"} & shown:
        trace = [span for span in spans if span.trace == trace_id]
        if all(not path_to_root(span, trace)[-1].parent for span in trace) and any(
            "identity" in s.service for s in trace
        ):
            return trace_id
    return ""


async def trace_of_one_action(stack: RunningStack, collector: Collector) -> list[Span]:
    """Return the complete trace of one action."""
    since = time.time_ns()
    async for _ in played(stack):
        pass
    spans = await arrived(collector, lambda spans: bool(complete(spans)), since)
    return [span for span in spans if span.trace == complete(spans)]


async def log_fields_of(stack: RunningStack, request_id: str) -> dict[str, str]:
    """Return the IDs of the trace and the span in the edge's log line about a request."""

    async def fields() -> dict[str, str]:
        lines = (stack.data / "logs" / "edge.log").read_text().splitlines()
        line = next((line for line in lines if f"request_id={request_id}" in line), "")
        return dict(re.findall(r"\b(trace_id|span_id)=(\w+)", line))

    return await eventually(fields, "the request is logged with its trace")


async def span_of_request(stack: RunningStack, collector: Collector, request_id: str, since: int) -> Span:
    """Return the edge's span of a request that was sent after that time."""
    ids = await log_fields_of(stack, request_id)

    def own(spans: list[Span]) -> list[Span]:
        return [span for span in spans if (span.trace, span.id) == (ids["trace_id"], ids["span_id"])]

    return own(await arrived(collector, lambda spans: bool(own(spans)), since))[0]


def path_to_root(span: Span, trace: list[Span]) -> list[Span]:
    """Return the span and its ancestors."""
    by_id = {each.id: each for each in trace}
    path = [span]
    while path[-1].parent in by_id:
        path.append(by_id[path[-1].parent])
    return path


async def test_one_action_is_one_connected_trace_over_five_processes(
    observed: RunningStack, collector: Collector
) -> None:
    trace = await trace_of_one_action(observed, collector)
    shown = next(span for span in trace if span.name == "show")
    path = [(span.service, span.name) for span in reversed(path_to_root(shown, trace))]
    assert path == [
        ("topten-edge", "POST /graphql"),
        ("topten-edge", "SubmitAction"),
        ("topten-quiz", "topten.quiz.v1.QuizService/SubmitAction"),
        ("topten-quiz", "publish quiz.events"),
        ("topten-score", "count"),
        ("topten-score", "boards"),
        ("topten-leaderboard", "frame"),
        ("topten-edge", "show"),
    ]
    assert {span.service for span in trace} == {
        f"topten-{process}" for process in ("edge", "quiz", "identity", "score", "leaderboard")
    }
    assert all(path_to_root(span, trace)[-1].parent == "" for span in trace), "the request is the root of every span"
    assert all(span.resource["service.namespace"] == "topten" for span in trace)
    assert any(sent.get("api-key") == API_KEY for sent in collector.headers)


async def test_trace_has_each_store_command_below_the_step_that_sent_it(
    observed: RunningStack, collector: Collector
) -> None:
    trace = await trace_of_one_action(observed, collector)
    by_id = {span.id: span for span in trace}
    commands = [span for span in trace if "db.system.name" in span.attributes]
    # Names that a cache holds are not requested.
    assert {(span.service, by_id[span.parent].name, span.name) for span in commands} >= {
        ("topten-quiz", "submissions", "insert submissions"),
        ("topten-score", "ledger", "insert ledger"),
        ("topten-score", "boards", "PIPELINE"),
        ("topten-score", "boards", "PUBLISH"),
        ("topten-leaderboard", "board reads", "EVALSHA_RO"),
    }
    keys = {key for span in commands for key in span.attributes}
    assert keys <= {
        "db.system.name",
        "db.namespace",
        "db.collection.name",
        "db.operation.name",
        "db.operation.batch.size",
    }, "the operation and its place, never its values"
    assert all(by_id[span.parent].start <= span.start <= span.end <= by_id[span.parent].end for span in commands)


async def test_failed_store_command_has_an_error_type(observed: RunningStack, collector: Collector) -> None:
    since = time.time_ns()
    async with GraphqlClient(endpoints(observed).graphql) as client:
        player = await register(client)
        with stopped(observed, "mongo"), pytest.raises(GraphqlError):
            await player.submit(QUIZ, RIGHT)
    spans = await arrived(
        collector, lambda spans: any(s.failed and s.attributes.get("db.system.name") == "mongodb" for s in spans), since
    )
    failed = [span for span in spans if span.failed and span.attributes.get("db.system.name") == "mongodb"]
    assert all(re.fullmatch(r"\w+", str(span.attributes["error.type"])) for span in failed)


async def test_event_published_later_stays_in_its_trace(observed: RunningStack, collector: Collector) -> None:
    since = time.time_ns()
    async for _ in played(observed):
        with stopped(observed, "nats"):
            async with GraphqlClient(endpoints(observed).graphql) as client:
                late = await register(client)
                await late.submit(QUIZ, RIGHT)
                recorded = await arrived(
                    collector, lambda spans: any(s.failed and s.name == "publish quiz.events" for s in spans), since
                )
    trace_id = next(span.trace for span in recorded if span.failed and span.name == "publish quiz.events")

    def tries_of(spans: list[Span]) -> list[Span]:
        return [span for span in spans if span.trace == trace_id and span.name == "publish quiz.events"]

    def is_published(spans: list[Span]) -> bool:
        return any(not span.failed for span in tries_of(spans))

    tries = sorted(tries_of(await arrived(collector, is_published, since)), key=lambda span: span.start)
    assert [span.failed for span in tries] == [True] * (len(tries) - 1) + [False]
    assert len({span.parent for span in tries}) == 1, "all belong to the call that recorded it"


def batch_of_three(spans: list[Span]) -> list[Span]:
    """Return the spans of counting of three events that one batch counted, the leading one first, if all arrived.

    Spans of other batches may arrive between them: the exporter is free to be late.
    """
    counted = [span for span in spans if span.name == "count"]
    for leading in counted:
        others = [span for span in counted if span.links == ((leading.trace, leading.id),)]
        if len(leading.links) == len(others) == 2:
            return [leading, *others]
    return []


async def count_after_a_pause(observed: RunningStack, collector: Collector) -> None:
    """Let three players' events wait for a worker that stands still, then let it count them."""
    since = time.time_ns()
    async with GraphqlClient(endpoints(observed).graphql) as client:
        players = [await register(client) for _ in range(3)]
        with stopped(observed, "score"):
            for player in players:
                await player.submit(QUIZ, RIGHT)
            # The response is sent before the event is on the stream.
            await arrived(collector, lambda spans: sum(s.name == "publish quiz.events" for s in spans) >= 3, since)
    await arrived(collector, lambda spans: sum(span.name == "count" for span in spans) >= 3, since)


async def test_batch_is_in_the_trace_of_each_event_and_linked(observed: RunningStack, collector: Collector) -> None:
    since = time.time_ns()
    async with deadline("three events are counted in one batch"):
        # The worker decides what it takes together: the server may deliver one of them a moment later.
        while not batch_of_three(collector.since(since)):
            await count_after_a_pause(observed, collector)
    leading, *others = batch_of_three(collector.since(since))
    assert len({span.trace for span in (leading, *others)}) == 3
    assert {(span.trace, span.parent) for span in others} == set(leading.links)


async def test_client_cannot_choose_the_trace(observed: RunningStack, collector: Collector) -> None:
    _, trace_id, parent, _ = FORGED.split("-")
    headers = {"traceparent": FORGED, "Authorization": "Bearer e30.e30.e30"}
    since = time.time_ns()
    async with aiohttp.ClientSession() as session:
        async with session.post(
            f"{observed.http}/graphql", json={"query": "{ me { userId } }"}, headers=headers
        ) as answer:
            request_id = answer.headers["X-Request-Id"]
    span = await span_of_request(observed, collector, request_id, since)
    assert (span.name, span.parent) == ("POST /graphql", "")
    assert not [each for each in collector.since(since) if each.trace == trace_id or each.parent == parent]


async def test_spans_contain_no_personal_data(observed: RunningStack, collector: Collector) -> None:
    since = time.time_ns()
    async for player in played(observed):
        private = [player.username, player.user_id, player.access_token, player.refresh_token, PASSWORD, API_KEY]
    spans = await arrived(collector, lambda spans: bool(complete(spans)), since)
    text = json.dumps([[span.name, dict(span.attributes), dict(span.resource)] for span in spans], default=str)
    assert not [secret for secret in private if secret in text]


async def test_log_lines_name_their_trace(observed: RunningStack, collector: Collector) -> None:
    since = time.time_ns()
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{observed.http}/no/such/page") as answer:
            request_id = answer.headers["X-Request-Id"]
    span = await span_of_request(observed, collector, request_id, since)
    assert (span.service, span.name) == ("topten-edge", "GET /{path}")


def test_process_without_tracing_imports_no_tracing_sdk() -> None:
    # redis-py loads a part of the SDK by itself wherever it is installed.
    heavy = "('services.runtime.telemetry.otlp', 'opentelemetry.sdk.trace', 'requests')"
    program = f"import sys, services.score.__main__, edge.__main__; print(*(m for m in {heavy} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
