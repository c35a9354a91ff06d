"""A leaderboard service whose boards say what a test lets them say, and an edge process that reads it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from prometheus_client.parser import text_string_to_metric_families
from topten.leaderboard.v1 import leaderboard_service_pb2 as messages
from topten.leaderboard.v1.leaderboard_pb2 import Entry, Frame
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import (
    LeaderboardServiceServicer,
    add_LeaderboardServiceServicer_to_server,
)

from tests.servers import HOST, START_SECONDS, free_port
from tests.unit.partly import partly
from tests.unit.runtime.issuer import Issuer


def frame(version: int, *, generation: int = 1, board: str = "all", name: str = "Ada", entries: int = 1) -> Frame:
    """A frame of so many entries, the first of them with this name."""
    made = Frame(board=board, generation=generation, version=version)
    made.timestamp.FromSeconds(1_795_464_000)
    for rank in range(1, entries + 1):
        made.entries.append(Entry(rank=rank, user_id=f"u{rank}", username=name, score=1000 - rank))
    return made


@partly
class Announcer(LeaderboardServiceServicer):
    """`WatchLeaderboard` and `WatchRanks` alone. What is announced goes to every stream of the board, and to each new one."""

    def __init__(self) -> None:
        self.address = ""
        self.opened: dict[str, int] = defaultdict(int)
        self.asked: list[list[str]] = []
        self.standings: dict[str, messages.Standing] = {}
        self._open: dict[str, list[asyncio.Queue[Any]]] = defaultdict(list)
        self._latest: dict[str, Frame] = {}
        self._refused: dict[str, grpc.StatusCode] = {}
        self._moved = asyncio.Event()

    def announce(self, frame: Frame) -> None:
        """The board's frame from now on."""
        self._latest[frame.board] = frame
        self._tell(frame.board, frame)

    def end(self, board: str) -> None:
        """Ends the open streams of the board in order, as a closed period does."""
        self._tell(board, None)

    def refuse(self, board: str, code: grpc.StatusCode | None) -> None:
        """Fails the open and coming streams of the board; None takes that back."""
        if code is None:
            del self._refused[board]
        else:
            self._refused[board] = code
            self._tell(board, code)

    def _tell(self, board: str, what: Any) -> None:
        for queue in self._open[board]:
            queue.put_nowait(what)

    async def until_open(self, board: str, count: int) -> None:
        """Waits until so many streams of the board are open."""
        async with asyncio.timeout(10):
            while len(self._open[board]) != count:
                await self._moved.wait()

    async def WatchLeaderboard(
        self, request: messages.WatchLeaderboardRequest, context: Any
    ) -> AsyncIterator[messages.WatchLeaderboardResponse]:
        board = request.board
        self.opened[board] += 1
        if board in self._refused:
            await context.abort(self._refused[board], "refused by the test")
        queue: asyncio.Queue[Any] = asyncio.Queue()
        if board in self._latest:
            queue.put_nowait(self._latest[board])
        self._open[board].append(queue)
        self._move()
        try:
            while (what := await queue.get()) is not None:
                if isinstance(what, grpc.StatusCode):
                    await context.abort(what, "refused by the test")
                yield messages.WatchLeaderboardResponse(frame=what)
        finally:
            self._open[board].remove(queue)
            self._move()

    async def WatchRanks(
        self, request: messages.WatchRanksRequest, context: Any
    ) -> AsyncIterator[messages.WatchRanksResponse]:
        """The place that was announced for each player, once."""
        self.asked.append(list(request.user_ids))
        known = [self.standings[user_id] for user_id in request.user_ids if user_id in self.standings]
        yield messages.WatchRanksResponse(board=request.board, standings=known)
        await asyncio.Event().wait()

    async def GetLeaderboard(self, request: messages.GetLeaderboardRequest, context: Any) -> Any:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "boards are only watched here")

    async def GetRanks(self, request: messages.GetRanksRequest, context: Any) -> Any:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "boards are only watched here")

    def _move(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


@asynccontextmanager
async def announcing() -> AsyncIterator[Announcer]:
    """An announcer that serves."""
    announcer = Announcer()  # type: ignore[abstract]  # only one method is called
    server = grpc.aio.server()
    add_LeaderboardServiceServicer_to_server(announcer, server)
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    announcer.address = f"{HOST}:{port}"
    try:
        yield announcer
    finally:
        await server.stop(None)


class EdgeProcess:
    """`python -m edge` before an announcer."""

    def __init__(self, process: subprocess.Popen[bytes], http: str, ops: str, log: Path) -> None:
        self.http = http
        self.process = process
        self._ops = ops
        self._log = log

    async def metric(self, name: str, **labels: str) -> float:
        """The value of a metric at this moment; 0 if it was never counted."""
        async with aiohttp.ClientSession() as session, session.get(f"http://{self._ops}/metrics") as answer:
            text = await answer.text()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    async def until_metric(self, name: str, value: float, **labels: str) -> None:
        """Waits until a metric has this value."""
        async with asyncio.timeout(20):
            while await self.metric(name, **labels) != value:
                await asyncio.sleep(0.02)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, START_SECONDS)

    @property
    def log(self) -> str:
        """What it has logged."""
        return self._log.read_text()


@asynccontextmanager
async def edge_process(
    issuer: Issuer, announcer: Announcer, log: Path, arguments: Sequence[str] = (), **settings: str
) -> AsyncIterator[EdgeProcess]:
    """An edge that believes the issuer and reads the announcer; `settings` without their prefix TOPTEN_EDGE_."""
    http, ops = (f"{HOST}:{free_port()}" for _ in range(2))
    environ = {
        **os.environ,
        "TOPTEN_EDGE_HTTP_ADDRESS": http,
        "TOPTEN_EDGE_OPS_ADDRESS": ops,
        "TOPTEN_AUTH_JWKS_URL": issuer.jwks_url,
        "TOPTEN_AUTH_TOKEN_URL": issuer.token_url,
        "TOPTEN_AUTH_CLIENT_ID": "edge",
        "TOPTEN_AUTH_CLIENT_SECRET": "a secret of the test",
        "TOPTEN_UPSTREAM_LEADERBOARD": announcer.address,
        **{f"TOPTEN_EDGE_{name}": value for name, value in settings.items()},
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge", *arguments], env=environ, stdin=subprocess.DEVNULL, stderr=output
        )
    try:
        async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"http://{http}/livez"):
                        break
                except aiohttp.ClientError:
                    assert process.poll() is None, log.read_text()
                    await asyncio.sleep(0.02)
        yield EdgeProcess(process, f"http://{http}", ops, log)
    finally:
        if process.poll() is None:
            process.terminate()
            await asyncio.to_thread(process.wait, START_SECONDS)
