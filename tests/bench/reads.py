"""Reads of a board over GraphQL, in requests per CPU second, beside Apollo Server and mercurius in Node.

    python -m tests.bench reads

Eight players, each with a connection and one request in flight, each request with an ID of its own, rate limits on; the edge
on one core and the generator on the other. *Held* is the top 10 of a board that somebody watches. *Called* is the top 11,
*around* the player among four neighbors, *rank* their own entry: executed each time, after a call of the leaderboard service
that requests of the same moment share. The peers answer the same from memory, to anybody and without limits; the floor is a
bare aiohttp server that answers with the bytes of the top 10.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
from topten.quiz.v1 import quiz_pb2

from services.cli.system.client import GraphqlClient
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.node import NODE, install
from tests.players import endpoints, register, stream
from tests.servers import RunningStack, free_port, running_stack, unique

CONNECTIONS = 8
SECONDS = 6.0
RUNS = 3
PEERS = Path(__file__).parent / "peers"
SCRIPTS = {"Apollo Server": "apollo.mjs", "mercurius": "mercurius.mjs"}
FLOOR = "floor: bare aiohttp"
ENTRY = "{ userId username score rank country }"
HEAD = "{ getLeaderboard(limit: %d) " + ENTRY + " }"
AROUND = "query ($id: ID!) { aroundPlayer(userId: $id, radius: 2) { entries " + ENTRY + " } }"
RANK = "query ($id: ID!) { ranks(userIds: [$id]) { entries " + ENTRY + " } }"
# By name: the query, and the one that the peers answer.
WAYS = {
    "held": (HEAD % 10, HEAD % 10),
    "called": (HEAD % 11, HEAD % 10),
    "around": (AROUND, AROUND),
    "rank": (RANK, RANK),
}
BARE = """
import sys
from aiohttp import web
body = sys.stdin.buffer.read()
async def answer(request):
    await request.read()
    return web.Response(body=body, content_type="application/json")
app = web.Application()
app.router.add_post("/graphql", answer)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
"""


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Reader(NamedTuple):
    """A player who reads boards."""

    user_id: str
    token: str


async def load(url: str, query: str, readers: Sequence[Reader], pid: int) -> tuple[float, float, bytes]:
    """Return requests per CPU second of `pid`, requests per second, and the body of the first reader's last response."""
    target = urlsplit(url)
    done, last = 0, b""
    ends = time.perf_counter() + SECONDS

    async def one(each: Reader) -> None:
        nonlocal done, last
        reader, writer = await asyncio.open_connection(target.hostname, target.port)
        asked = {"query": query} | ({"variables": {"id": each.user_id}} if "$id" in query else {})
        body = json.dumps(asked).encode()
        head = f"POST /graphql HTTP/1.1\r\nHost: {target.netloc}\r\nAuthorization: Bearer {each.token}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nX-Request-Id: "
        while time.perf_counter() < ends:
            writer.write(f"{head}{uuid.uuid4().hex}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            told = await reader.readexactly(length)
            done += 1
            if each is readers[0]:
                last = told
        writer.close()

    begun, cpu = time.perf_counter(), cpu_seconds(pid)
    await asyncio.gather(*map(one, readers))
    return done / (cpu_seconds(pid) - cpu), done / (time.perf_counter() - begun), last


@contextmanager
def serving(*command: str | Path, given: bytes) -> Iterator[tuple[str, int]]:
    """Run a server with a port as its last argument and `given` on its input; yields its address and process ID."""
    port = free_port()
    process = subprocess.Popen([*command, str(port)], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(given)
    process.stdin.close()
    try:
        yield f"http://127.0.0.1:{port}/graphql", process.pid
    finally:
        process.terminate()
        process.wait()


Found = Mapping[tuple[str, str], tuple[float, float]]
"""By server and way: requests per CPU second and per second, as medians of the runs."""


async def measure(stack: RunningStack) -> Found:
    """Measure each way at the edge, at the peers, and the floor."""
    quiz_id = unique("bench-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM))
    async with GraphqlClient(endpoints(stack).graphql) as client:
        players = [await register(client) for _ in range(12)]
        for player in players:
            await player.submit(quiz_id, [("q1", "a")])
        readers = [Reader(player.user_id, player.access_token) for player in players[:CONNECTIONS]]
        edge = stack.pid_of("edge")
        os.sched_setaffinity(edge, {0})
        os.sched_setaffinity(0, {1})
        found: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        async with stream(stack.http, readers[0].token) as events:
            async for event in events:
                if event.name == "update" and len(event.data["leaderboard"]) == 10:
                    break
            for _ in range(RUNS):
                told: dict[str, bytes] = {}
                for way, (query, _) in WAYS.items():
                    *rates, told[way] = await load(stack.http, query, readers, edge)
                    found["Topten", way].append((rates[0], rates[1]))
                entries = json.loads(told["called"])["data"]["getLeaderboard"]
                given = json.dumps(entries).encode()
                for name, script in SCRIPTS.items():
                    with serving(NODE, PEERS / script, given=given) as (url, pid):
                        os.sched_setaffinity(pid, {0})
                        await until_up(url)
                        for way in ("held", "around", "rank"):
                            *rates, body = await load(url, WAYS[way][1], readers, pid)
                            assert json.loads(body)["data"] == json.loads(told[way])["data"], way
                            found[name, way].append((rates[0], rates[1]))
                with serving(sys.executable, "-c", BARE, given=told["held"]) as (url, pid):
                    os.sched_setaffinity(pid, {0})
                    await until_up(url)
                    *rates, _ = await load(url, HEAD, readers, pid)
                    found[FLOOR, "held"].append((rates[0], rates[1]))
        return {measured: sorted(runs)[len(runs) // 2] for measured, runs in found.items()}


async def until_up(url: str) -> None:
    """Wait until the port is open."""
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.post(url):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.02)


def main() -> None:
    """Measure, and print the result."""
    install(PEERS)
    # Rate limits are on, but too high for these players.
    os.environ["TOPTEN_EDGE_RATE_QUERY"] = "600000/m,6000000/m"
    with running_stack() as stack:
        found = asyncio.run(measure(stack))
    print(
        "| getLeaderboard over HTTP | requests a CPU second | requests/s | × " + " | × ".join((*SCRIPTS, FLOOR)) + " |"
    )
    print("| --- | --- | --- |" + " --- |" * (len(SCRIPTS) + 1))
    for (server, way), (a_cpu_second, rate) in found.items():
        same = "held" if way == "called" else way
        others = [found[name, same][0] for name in SCRIPTS] + [found[FLOOR, "held"][0]]
        shares = " | ".join(f"{a_cpu_second / other:.2f}" for other in others)
        print(f"| {server}, {way} | {a_cpu_second:,.0f} | {rate:,.0f} | {shares} |")
