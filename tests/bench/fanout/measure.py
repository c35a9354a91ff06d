"""Deliveries per CPU second of the server at several numbers of streams, memory per stream, and the cost of a slow reader."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from statistics import median
from typing import Final

from services.embedded.supervisor import allow_many_connections
from tests.bench.fanout.servers import MARK, MissingError, Server, compiled, nchan, ours, send_loop
from tests.servers import HOST

SIZES: Final = (1_000, 5_000, 10_000)
# Each figure comes from at least so many deliveries and frames.
DELIVERIES: Final = 300_000
FRAMES: Final = 30
CHURN: Final = (10, 2_000)
_TICKS: Final = os.sysconf("SC_CLK_TCK")
# Only a newer frame is sent.
_versions = count(2)


@dataclass(frozen=True)
class Run:
    """Deliveries per CPU second, and ms from the publication of a frame to its arrival: medians over the frames."""

    rate: float
    p99: float
    last: float


class Readers:
    """A process of readers on the other core, which reports the arrival of each frame."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> list[str]:
        """Read the next line as words. Raises RuntimeError if a stream was lost."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("a stream was lost")
        return line.decode().split()


@asynccontextmanager
async def reading(server: Server, size: int, frames: int, program: Path) -> AsyncIterator[Readers]:
    """Start `size` readers of the server; returns when each has its first frame."""
    process = await asyncio.create_subprocess_exec(
        program,
        HOST,
        str(server.port),
        str(size),
        str(frames),
        str(int(server.greets)),
        MARK,
        stdin=-1,
        stdout=-1,
        limit=2**20,
    )
    os.sched_setaffinity(process.pid, {1})
    assert process.stdin is not None
    try:
        process.stdin.write(server.requests(size))
        await process.stdin.drain()
        process.stdin.close()
        readers = Readers(process)
        assert await readers.line() == ["open"]
        yield readers
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def frames_for(size: int) -> int:
    """Return the number of frames of a run."""
    return max(FRAMES, DELIVERIES // size)


async def deliver(server: Server, readers: Readers, size: int) -> Run:
    """Send frames, each after the last one has arrived everywhere."""
    p99s, lasts = [], []
    frames = frames_for(size)
    used = cpu_seconds(server.pid)
    for version in islice(_versions, frames):
        published = time.monotonic_ns()
        await server.publish(version)
        _, _, p99, last = await readers.line()
        p99s.append((int(p99) - published) / 1e6)
        lasts.append((int(last) - published) / 1e6)
    used = cpu_seconds(server.pid) - used
    return Run(size * frames / max(used, 1 / _TICKS), median(p99s), median(lasts))


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident(pid: int) -> int:
    """Return the memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def fan_out(
    make: Callable[[Path], AbstractAsyncContextManager[Server]], program: Path
) -> tuple[str, list[Run], float, float]:
    """Return the name, a run per size, KB per stream at the last one, and the effect of a stalled reader on the p99."""
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as folder:
        async with make(Path(folder)) as server:
            os.sched_setaffinity(server.pid, {0})
            before = resident(server.pid)
            for size in SIZES:
                async with reading(server, size, 3 * frames_for(size), program) as readers:
                    memory = (resident(server.pid) - before) / size / 1024
                    runs.append(await deliver(server, readers, size))
                    if size != SIZES[1]:
                        continue
                    with deaf(server):
                        bad = await deliver(server, readers, size)
                    good = await deliver(server, readers, size)
            return server.name, runs, memory, bad.p99 / good.p99


@contextmanager
def deaf(server: Server) -> Iterator[None]:
    """Open a stream that is never read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    connection.connect((HOST, server.port))
    connection.sendall(server.requests(1).rstrip(b"\0"))
    try:
        yield
    finally:
        connection.close()


async def churn(program: Path) -> float:
    """Return the relative growth of the edge while the same 2 000 readers connect and disconnect ten times."""
    times, size = CHURN
    sizes = []
    with tempfile.TemporaryDirectory() as folder:
        async with ours(Path(folder)) as server:
            for _ in range(times):
                async with reading(server, size, 1, program):
                    pass
                sizes.append(resident(server.pid))
    return sizes[-1] / sizes[0] - 1


async def main() -> None:
    """Measure, and print the result."""
    allow_many_connections()
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {1})
    with tempfile.TemporaryDirectory() as folder:
        try:
            program = compiled("receiver", Path(folder))
        except MissingError as missing:
            print(missing)
            return
        rows = []
        for make in (ours, nchan, send_loop):
            try:
                rows.append(await fan_out(make, program))
            except MissingError as missing:
                print(missing)
        grown = await churn(program)
    os.sched_setaffinity(0, cores)
    print("| deliveries a CPU second | " + " | ".join(f"{size:,} streams" for size in SIZES) + " | KB a stream |")
    print("| --- |" + " --- |" * (len(SIZES) + 1))
    for name, runs, memory, _ in rows:
        print(f"| {name} | " + " | ".join(f"{run.rate:,.0f}" for run in runs) + f" | {memory:.1f} |")
    own = rows[0][1]
    for name, runs, _, _ in rows[1:]:
        print(f"| × {name} | " + " | ".join(f"{a.rate / b.rate:.2f}" for a, b in zip(own, runs, strict=True)) + " | |")
    print(
        "\n| published → read, p99 (all), ms | "
        + " | ".join(f"{size:,} streams" for size in SIZES)
        + " | a deaf reader |"
    )
    print("| --- |" + " --- |" * (len(SIZES) + 1))
    for name, runs, _, deafness in rows:
        print(f"| {name} | " + " | ".join(f"{run.p99:.1f} ({run.last:.1f})" for run in runs) + f" | × {deafness:.2f} |")
    print(f"\nten times two thousand streams that come and go: {grown:+.1%} of memory")
