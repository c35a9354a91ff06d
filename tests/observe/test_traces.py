"""One action is one trace, from the request to the screens, over every process that it goes through."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from services.local.client import GraphqlClient, GraphqlError
from tests.observe.collector import API_KEY, Collector, Span
from tests.observe.story import COUNTRIES, QUIZ, RIGHT, stopped
from tests.players import PASSWORD, Player, endpoints, register, shows, stream, until
from tests.servers import RunningStack

PATIENCE_SECONDS = 30
FORGED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def arrived(collector: Collector, holds: Callable[[list[Span]], bool], since: int) -> list[Span]:
    """The spans that have arrived since then, when this holds for them."""
    found: list[Span] = []
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds(found := collector.spans[since:]):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError("\n".join(f"{span.service} {span.name} {span.trace}" for span in found)) from None
    return found


async def played(stack: RunningStack) -> AsyncIterator[Player]:
    """A player whose action is on the screen; what is done with him in between happens before it."""
    async with GraphqlClient(endpoints(stack).graphql) as client:
        country = next(COUNTRIES)
        player = await register(client, country=country)
        async with stream(stack.http, player.access_token, f"country:{country}") as events:
            await until(events, lambda _: True)
            yield player
            await player.submit(QUIZ, RIGHT)
            await until(events, shows(player.username, 5))


def whole(spans: list[Span]) -> str:
    """The trace that leads from a submission to a frame on screens, all of it arrived; empty if none does yet."""
    shown = {span.trace for span in spans if span.name == "show"}
    for trace_id in {span.trace for span in spans if span.name == "publish quiz.events"} & shown:
        trace = [span for span in spans if span.trace == trace_id]
        if all(not path_to_root(span, trace)[-1].parent for span in trace) and any(
            "identity" in s.service for s in trace
        ):
            return trace_id
    return ""


async def of_one_action(stack: RunningStack, collector: Collector) -> list[Span]:
    """The whole trace of a player's action."""
    since = len(collector.spans)
    async for _ in played(stack):
        pass
    return collector.trace(whole(await arrived(collector, lambda spans: bool(whole(spans)), since)))


def path_to_root(span: Span, trace: list[Span]) -> list[Span]:
    """The span and those above it."""
    by_id = {each.id: each for each in trace}
    path = [span]
    while path[-1].parent in by_id:
        path.append(by_id[path[-1].parent])
    return path


async def test_one_action_is_one_connected_trace_over_five_processes(
    observed: RunningStack, collector: Collector
) -> None:
    trace = await of_one_action(observed, collector)
    shown = next(span for span in trace if span.name == "show")
    way = [(span.service, span.name) for span in reversed(path_to_root(shown, trace))]
    assert way == [
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
    assert all(path_to_root(span, trace)[-1].parent == "" for span in trace), "every span hangs on the request"
    assert all(span.resource["service.namespace"] == "topten" for span in trace)
    assert any(sent.get("api-key") == API_KEY for sent in collector.headers)


async def test_a_trace_has_each_command_to_a_store_below_the_step_that_sent_it(
    observed: RunningStack, collector: Collector
) -> None:
    trace = await of_one_action(observed, collector)
    by_id = {span.id: span for span in trace}
    commands = [span for span in trace if "db.system.name" in span.attributes]
    # Who is known already, by a cache, is not asked for.
    assert {(span.service, by_id[span.parent].name, span.name) for span in commands} >= {
        ("topten-quiz", "submissions", "insert submissions"),
        ("topten-score", "ledger", "insert ledger"),
        ("topten-score", "boards", "PIPELINE"),
        ("topten-score", "boards", "PUBLISH"),
        ("topten-leaderboard", "frame", "EVALSHA_RO"),
    }
    said = {key for span in commands for key in span.attributes}
    assert said <= {
        "db.system.name",
        "db.namespace",
        "db.collection.name",
        "db.operation.name",
        "db.operation.batch.size",
    }, "what is done and where, never with what"
    assert all(by_id[span.parent].begun <= span.begun <= span.ended <= by_id[span.parent].ended for span in commands)


async def test_a_command_that_failed_says_so_by_its_type(observed: RunningStack, collector: Collector) -> None:
    since = len(collector.spans)
    async with GraphqlClient(endpoints(observed).graphql) as client:
        player = await register(client)
        with stopped(observed, "mongo"), pytest.raises(GraphqlError):
            await player.submit(QUIZ, RIGHT)
    spans = await arrived(
        collector, lambda spans: any(s.failed and s.attributes.get("db.system.name") == "mongodb" for s in spans), since
    )
    failed = [span for span in spans if span.failed and span.attributes.get("db.system.name") == "mongodb"]
    assert all(re.fullmatch(r"\w+", str(span.attributes["error.type"])) for span in failed)


async def test_an_event_that_is_published_later_stays_in_its_trace(
    observed: RunningStack, collector: Collector
) -> None:
    since = len(collector.spans)
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

    tries = tries_of(await arrived(collector, lambda spans: len(tries_of(spans)) > 1, since))
    assert [span.failed for span in tries] == [True, False]
    assert len({span.parent for span in tries}) == 1, "both by the call that recorded it"


async def test_what_is_done_for_many_is_in_the_trace_of_each_and_linked(
    observed: RunningStack, collector: Collector
) -> None:
    since = len(collector.spans)
    async with GraphqlClient(endpoints(observed).graphql) as client:
        players = [await register(client) for _ in range(3)]
        with stopped(observed, "score"):
            for player in players:
                await player.submit(QUIZ, RIGHT)
            # A player is answered before his event is on the stream.
            await arrived(collector, lambda spans: sum(s.name == "publish quiz.events" for s in spans) >= 3, since)
    spans = await arrived(collector, lambda spans: sum(span.name == "count" for span in spans) >= 3, since)
    batch = [span for span in spans if span.name == "count"]
    assert len({span.trace for span in batch}) == 3
    leading = next(span for span in batch if len(span.links) == 2)
    others = [span for span in batch if span is not leading]
    assert {(span.trace, span.parent) for span in others} == set(leading.links)
    assert all(span.links == ((leading.trace, leading.id),) for span in others)


async def test_nobody_from_outside_decides_what_is_traced(observed: RunningStack, collector: Collector) -> None:
    since = len(collector.spans)
    async with aiohttp.ClientSession() as session:
        body = {"query": "{ quizzes(first: 1) { totalCount } }"}
        async with session.post(f"{observed.http}/graphql", json=body, headers={"traceparent": FORGED}) as answer:
            assert answer.status in (200, 401)
    spans = await arrived(collector, lambda spans: any(span.name == "POST /graphql" for span in spans), since)
    assert not any(span.trace == FORGED.split("-")[1] for span in spans)


async def test_spans_say_nothing_of_who_and_what(observed: RunningStack, collector: Collector) -> None:
    since = len(collector.spans)
    async for player in played(observed):
        known = [player.username, player.user_id, player.access_token, player.refresh_token, PASSWORD, API_KEY]
    spans = await arrived(collector, lambda spans: bool(whole(spans)), since)
    said = json.dumps([[span.name, dict(span.attributes), dict(span.resource)] for span in spans], default=str)
    assert not [secret for secret in known if secret in said]


async def test_log_lines_name_their_trace(observed: RunningStack, collector: Collector) -> None:
    since = len(collector.spans)
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{observed.http}/no/such/page") as answer:
            request_id = answer.headers["X-Request-Id"]
    await arrived(collector, lambda spans: any(span.name.startswith("GET /") for span in spans), since)
    log = (observed.data / "logs" / "edge.log").read_text()
    line = next(line for line in log.splitlines() if f"request_id={request_id}" in line)
    trace_id, span_id = (re.search(rf"{key}=(\w+)", line)[1] for key in ("trace_id", "span_id"))  # type: ignore[index]
    assert [span.name for span in collector.trace(trace_id) if span.id == span_id] == ["GET /{path}"]


def test_who_does_not_trace_loads_nothing_for_it() -> None:
    # redis-py loads a part of the SDK by itself wherever it is installed.
    heavy = "('services.runtime.otlp', 'opentelemetry.sdk.trace', 'requests')"
    program = f"import sys, services.score.__main__, edge.__main__; print(*(m for m in {heavy} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
