"""Requests that come again to the letter: what they are answered, by all that may change between two of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.players import stream
from tests.unit.edge.announcer import Announcer, EdgeProcess, announcing, edge_process, frame
from tests.unit.runtime.issuer import Issuer

REPEATED = "topten_answers_repeated_total"
HEAD = "{ getLeaderboard { userId username score rank } }"
ORIGIN = "https://play.example"
# What differs between two answers to one request, whichever way they came about.
DIFFERENT = ("date", "ratelimit", "x-request-id")
QUERIES = [
    HEAD,
    "{ getLeaderboard(limit: 3) { rank } }",
    "query ($n: Int!) { a: getLeaderboard(limit: $n) { rank } b: getLeaderboard { username } }",
    "{ getLeaderboard(limit: 0) { rank } }",
    "{ getLeaderboard { rank } me { username } }",
    "{ nonsense }",
]
HEADERS = [
    "Accept: application/json",
    "Accept: application/graphql-response+json",
    "Accept: text/html",
    f"Origin: {ORIGIN}",
    "Origin: https://else.example",
    "Connection: keep-alive",
    "Connection: close",
    "Content-Encoding: gzip",
    "Expect: 100-continue",
    "Expect: else",
    "Topten-Session: cookie",
    "X-Forwarded-For: 192.0.2.1",
]


class Client:
    """A bare connection to an edge."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> tuple[str, dict[str, str], bytes]:
        """The next answer: its first line, its headers and its body."""
        async with asyncio.timeout(20):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            if " 100 " in first:
                return await self.answer()
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            return first, headers, await self._reader.readexactly(int(headers["content-length"]))

    async def ask(self, data: bytes) -> tuple[str, dict[str, str], bytes]:
        self.send(data)
        return await self.answer()


@asynccontextmanager
async def connected(edge: EdgeProcess) -> AsyncIterator[Client]:
    host, _, port = edge.http.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


@pytest.fixture
async def announcer() -> AsyncIterator[Announcer]:
    async with announcing() as serving:
        serving.announce(frame(1, entries=10))
        yield serving


@asynccontextmanager
async def serving(issuer: Issuer, announcer: Announcer, log: Path, **more: str) -> AsyncIterator[EdgeProcess]:
    """An edge that holds the board of all time."""
    async with (
        edge_process(issuer, announcer, log, ALLOWED_ORIGINS=ORIGIN, **more) as edge,
        stream(edge.http, issuer.token(sub="watcher", userId="watcher")) as events,
    ):
        async for event in events:
            if event.name == "update":
                break
        yield edge


@pytest.fixture
async def edge(issuer: Issuer, announcer: Announcer, tmp_path: Path) -> AsyncIterator[EdgeProcess]:
    async with serving(issuer, announcer, tmp_path / "log") as edge:
        yield edge


def request(token: str, query: str = HEAD, *headers: str) -> bytes:
    body = json.dumps({"query": query, "variables": {"n": 2}}).encode()
    lines = ["POST /graphql HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"Authorization: Bearer {token}"] if token else []
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def same(answer: tuple[str, dict[str, str], bytes]) -> tuple[str, dict[str, str], bytes]:
    """What two answers to one request have in common."""
    first, headers, body = answer
    kept = {name: value for name, value in headers.items() if name not in DIFFERENT}
    # An error tells the request id.
    return first, kept, body.replace(headers["x-request-id"].encode(), b"")


async def test_a_repeated_request_is_answered_as_the_long_way_would(edge: EdgeProcess, issuer: Issuer) -> None:
    """An id of its own sends a request the long way; but for that, all answers must be the same."""
    tokens = {"good": issuer.token(), "none": "", "bad": "bad", "service": issuer.token(roles=[], sub="x", userId=None)}

    async def asked(token: str, query: str, headers: list[str], cut: int) -> None:
        data = request(tokens[token], query, *headers)
        long = request(tokens[token], query, *headers, f"X-Request-Id: {'f' * 32}")
        answers = []
        for way in (long, data, data, data, data):
            async with connected(edge) as client:
                answers.append(await client.ask(way))
                if "Connection: close" in headers:
                    continue
                answers.append(await client.ask(way))
                client.send(way[:cut])
                await asyncio.sleep(0)
                answers.append(await client.ask(way[cut:]))
                answers.append(await client.ask(way))
        assert all(same(answer) == same(answers[0]) for answer in answers)

    loop = asyncio.get_running_loop()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(
        st.sampled_from(sorted(tokens)),
        st.sampled_from(QUERIES),
        st.lists(st.sampled_from(HEADERS), unique_by=lambda line: line.partition(":")[0], max_size=3),
        st.integers(1, 200),
    )
    @example("good", HEAD, [], 1)
    def hold(token: str, query: str, headers: list[str], cut: int) -> None:
        asyncio.run_coroutine_threadsafe(asked(token, query, headers, cut), loop).result()

    await asyncio.to_thread(hold)
    assert await edge.metric(REPEATED) >= 4, "of each connection of that example, the second at least"


async def test_what_was_repeated_is_measured_and_has_an_id_of_its_own(edge: EdgeProcess, issuer: Issuer) -> None:
    data = request(issuer.token())
    async with connected(edge) as client:
        answers = [await client.ask(data) for _ in range(10)]
    ids = {headers["x-request-id"] for _, headers, _ in answers}
    lefts = [int(headers["ratelimit"].partition(";r=")[2].partition(";")[0]) for _, headers, _ in answers]
    assert len(ids) == 10
    assert lefts == list(range(lefts[0], lefts[0] - 10, -1))
    # One is executed, one is answered from what is kept by that, and the others are known by then.
    assert await edge.metric(REPEATED) == 8
    route = {"http_route": "/graphql", "http_request_method": "POST", "http_response_status_code": "200"}
    assert await edge.metric("http_server_request_duration_seconds_count", **route) == 10


async def test_a_repeated_request_sees_the_next_frame(edge: EdgeProcess, issuer: Issuer, announcer: Announcer) -> None:
    data = request(issuer.token())
    async with connected(edge) as client, stream(edge.http, issuer.token()) as events:
        for _ in range(4):
            assert b"Ada" in (await client.ask(data))[2]
        announcer.announce(frame(2, name="Grace", entries=10))
        async for event in events:
            if event.name == "update" and event.data["leaderboard"][0]["username"] == "Grace":
                break
        for _ in range(4):
            assert b"Grace" in (await client.ask(data))[2]


async def test_a_token_is_good_no_longer_for_being_known(edge: EdgeProcess, issuer: Issuer) -> None:
    data = request(issuer.token(exp=int(time.time()) + 3))
    async with connected(edge) as client:
        statuses: list[str] = []
        async with asyncio.timeout(20):
            while not statuses or statuses[-1] == "200":
                statuses.append((await client.ask(data))[0].split()[1])
    assert statuses[-1] == "401"
    assert await edge.metric(REPEATED) > 0


async def test_a_rate_is_kept_to_the_letter(issuer: Issuer, announcer: Announcer, tmp_path: Path) -> None:
    async with serving(issuer, announcer, tmp_path / "log", RATE_QUERY="1200/m,-") as edge:
        async with connected(edge) as client:
            data = request(issuer.token())
            begun = time.monotonic()
            statuses = [(await client.ask(data))[0].split()[1] for _ in range(1500)]
            took = time.monotonic() - begun
        # So many at once, and twenty more a second.
        assert 1200 <= statuses.count("200") <= 1200 + 20 * took + 20
        assert statuses.count("429") == 1500 - statuses.count("200")


async def test_bytes_that_go_on_with_something_are_no_request(edge: EdgeProcess, issuer: Issuer) -> None:
    data = request(issuer.token())
    async with connected(edge) as client:
        first = await client.ask(data)
        for _ in range(3):
            assert same(await client.ask(data)) == same(first)
        before = await edge.metric(REPEATED)
        # A head that was begun takes what follows as its own: here, the request's line as a header, and a second Host.
        client.send(b"GET /livez HTTP/1.1\r\nHost: x\r\nX: ")
        await edge.metric(REPEATED)  # time enough to have read it
        client.send(data)
        assert (await client.answer())[0].split()[1] == "400"
        assert await edge.metric(REPEATED) == before


async def test_two_requests_in_one_are_both_answered(edge: EdgeProcess, issuer: Issuer) -> None:
    data = request(issuer.token())
    async with connected(edge) as client:
        for _ in range(3):
            answer = await client.ask(data)
        client.send(data + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" + data)
        assert same(await client.answer()) == same(answer)
        assert (await client.answer())[2] == b"ok\n"
        assert same(await client.answer()) == same(answer)
        assert same(await client.ask(data)) == same(answer)
