"""Reads of a board over GraphQL, in requests per CPU second, beside Apollo Server and mercurius in Node.

    python -m tests.bench reads

Eight connections, one request in flight on each, each request with an ID of its own, rate limits on; the edge on one core and
the generator on the other. *Held* is the top 10 of a board that somebody watches; *called* is the top 11, which is executed
each time, after a call of the leaderboard service that requests of the same moment share. The peers answer the same top 10
from memory, to anybody and without limits; the floor is a bare aiohttp server that answers with the same bytes.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
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
QUERY = "{ getLeaderboard(limit: %d) { userId username score rank country } }"
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


async def load(url: str, limit: int, tokens: Sequence[str], pid: int) -> tuple[float, float, bytes]:
    """Return requests per second, requests per CPU second of `pid`, and the body of a response."""
    target = urlsplit(url)
    body = json.dumps({"query": QUERY % limit}).encode()
    done, last = 0, b""
    ends = time.perf_counter() + SECONDS

    async def one(token: str) -> None:
        nonlocal done, last
        reader, writer = await asyncio.open_connection(target.hostname, target.port)
        head = f"POST /graphql HTTP/1.1\r\nHost: {target.netloc}\r\nAuthorization: Bearer {token}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nX-Request-Id: "
        while time.perf_counter() < ends:
            writer.write(f"{head}{uuid.uuid4().hex}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            last = await reader.readexactly(length)
            done += 1
        writer.close()

    begun, cpu = time.perf_counter(), cpu_seconds(pid)
    await asyncio.gather(*map(one, tokens))
    return done / (time.perf_counter() - begun), done / (cpu_seconds(pid) - cpu), last


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


async def measure(stack: RunningStack) -> list[tuple[str, float, float]]:
    """Return the requests per second and per CPU second of each way, as medians of the runs."""
    quiz_id = unique("bench-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM))
    async with GraphqlClient(endpoints(stack).graphql) as client:
        players = [await register(client) for _ in range(12)]
        for player in players:
            await player.submit(quiz_id, [("q1", "a")])
        tokens = [player.access_token for player in players[:CONNECTIONS]]
        edge = stack.pid_of("edge")
        os.sched_setaffinity(edge, {0})
        os.sched_setaffinity(0, {1})
        found: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        async with stream(stack.http, tokens[0]) as events:
            async for event in events:
                if event.name == "update" and len(event.data["leaderboard"]) == 10:
                    break
            for _ in range(RUNS):
                rate, a_cpu_second, body = await load(stack.http, 10, tokens, edge)
                assert len(json.loads(body)["data"]["getLeaderboard"]) == 10
                found["held"].append((a_cpu_second, rate))
                rate, a_cpu_second, _ = await load(stack.http, 11, tokens, edge)
                found["called"].append((a_cpu_second, rate))
                answer = json.loads(body)["data"]
                others: dict[str, tuple[Sequence[str | Path], bytes]] = {
                    name: ((NODE, PEERS / script), json.dumps(answer["getLeaderboard"]).encode())
                    for name, script in SCRIPTS.items()
                }
                others[FLOOR] = ((sys.executable, "-c", BARE), body)
                for name, (command, given) in others.items():
                    with serving(*command, given=given) as (url, pid):
                        os.sched_setaffinity(pid, {0})
                        await until_up(url)
                        rate, a_cpu_second, body = await load(url, 10, tokens, pid)
                        assert json.loads(body)["data"] == answer
                        found[name].append((a_cpu_second, rate))
        return [(name, *sorted(runs)[len(runs) // 2]) for name, runs in found.items()]


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
    rates = {name: a_cpu_second for name, a_cpu_second, _ in found}
    columns = (*SCRIPTS, FLOOR)
    print("| getLeaderboard over HTTP | requests a CPU second | requests/s | × " + " | × ".join(columns) + " |")
    print("| --- | --- | --- |" + " --- |" * len(columns))
    for name, a_cpu_second, rate in found:
        shares = " | ".join(f"{a_cpu_second / rates[other]:.2f}" for other in columns)
        print(f"| {name} | {a_cpu_second:,.0f} | {rate:,.0f} | {shares} |")
