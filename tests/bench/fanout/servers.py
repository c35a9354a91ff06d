"""The three servers: each publishes a frame on request, and names the process to measure."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import aiohttp
from topten.leaderboard.v1.leaderboard_pb2 import Frame

from edge.stream.frames import encode_update
from tests.servers import HOST, free_port
from tests.unit.edge.edge_process import edge_process
from tests.unit.edge.scripted_leaderboard import ScriptedLeaderboard, frame, scripted_leaderboard
from tests.unit.runtime.issuer import Issuer

HERE: Final = Path(__file__).parent
MARK: Final = "event: update"
ENTRIES: Final = 5
_NCHAN: Final = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_NGINX: Final = """
load_module {module};
daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 60000;
pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 50000; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  nchan_max_reserved_memory 256M;
  server {{
    listen {host}:{port} backlog=4096;
    location = /sub {{ nchan_subscriber eventsource; nchan_subscriber_first_message newest; nchan_channel_id board; }}
    location = /pub {{ nchan_publisher; nchan_message_buffer_length 10; nchan_channel_id board; }}
  }}
}}
"""


class MissingError(RuntimeError):
    """A server that is not installed; the message names its package."""


class Server(Protocol):
    """One of the three servers. One that `greets` sends each new reader the latest frame."""

    name: str
    port: int
    greets: bool

    @property
    def pid(self) -> int:
        """The ID of the measured process."""
        ...

    def requests(self, count: int) -> bytes:
        """Return the requests of so many readers, each ended by a NUL."""
        ...

    async def publish(self, version: int) -> None:
        """Send a frame to every reader."""
        ...


def frame_of(version: int) -> Frame:
    """Return a frame whose event has about 500 bytes."""
    return frame(version, entries=ENTRIES, name="Ada Lovelace")


def _get(path: str, port: int, header: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nAccept: text/event-stream\r\n{header}\r\n".encode() + b"\0"


@dataclass
class Ours:
    """`python -m edge`."""

    leaderboard: ScriptedLeaderboard
    issuer: Issuer
    port: int
    pid: int
    name: str = "Topten's edge"
    greets: bool = True
    tokens: list[str] = field(default_factory=list)

    def requests(self, count: int) -> bytes:
        """Requests with a player and token each."""
        path = "/api/v1/leaderboard/stream?board=all"
        for n in range(len(self.tokens), count):
            self.tokens.append(self.issuer.token(sub=f"u{n}", userId=f"u{n}", sid=f"s{n}"))
        return b"".join(_get(path, self.port, f"Authorization: Bearer {each}\r\n") for each in self.tokens[:count])

    async def publish(self, version: int) -> None:
        """Publish through the upstream of the edge."""
        self.leaderboard.publish(frame_of(version))


@asynccontextmanager
async def ours(folder: Path) -> AsyncIterator[Server]:
    """Run an edge before a leaderboard service that announces given frames."""
    settings = {"STREAM_MAX_PER_ADDRESS": "50000", "STREAM_MAX_CONNECTIONS": "50000", "RATE_STREAM": "-,-"}
    async with Issuer() as issuer, scripted_leaderboard() as leaderboard:
        leaderboard.publish(frame_of(1))
        async with edge_process(issuer, leaderboard, folder / "edge.log", **settings) as edge:
            yield Ours(leaderboard, issuer, int(edge.http.rpartition(":")[2]), edge.process.pid)


@dataclass
class Nchan:
    """nginx with nchan."""

    port: int
    pid: int
    session: aiohttp.ClientSession
    name: str = "nchan (nginx)"
    greets: bool = False

    def requests(self, count: int) -> bytes:
        """The same request for all."""
        return _get("/sub", self.port)

    async def publish(self, version: int) -> None:
        """Publish through its publisher location; nchan adds `data:` itself."""
        data = encode_update(frame_of(version)).message.plain.decode()
        body = data.partition("data: ")[2].rstrip("\n")
        headers = {"X-EventSource-Event": MARK.removeprefix("event: ")}
        async with self.session.post(f"http://{HOST}:{self.port}/pub", data=body, headers=headers) as answer:
            answer.raise_for_status()


@asynccontextmanager
async def nchan(folder: Path) -> AsyncIterator[Server]:
    """Run nginx with one worker. Raises MissingError."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None or not _NCHAN.exists():
        raise MissingError("nchan is not here: install Debian's nginx and libnginx-mod-nchan")
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(module=_NCHAN, folder=folder, host=HOST, port=port))
    process = subprocess.Popen([program, "-c", config, "-e", folder / "error.log", "-p", folder])
    try:
        async with aiohttp.ClientSession() as session:
            server = Nchan(port, process.pid, session)
            await _until_up(port)
            await server.publish(1)
            yield server
    finally:
        process.terminate()
        process.wait()


@dataclass
class SendLoop:
    """The floor."""

    port: int
    process: subprocess.Popen[bytes]
    name: str = "floor: send() in C"
    greets: bool = True

    @property
    def pid(self) -> int:
        """The ID of the loop's process."""
        return self.process.pid

    def requests(self, count: int) -> bytes:
        """The same request for all."""
        return _get("/", self.port)

    async def publish(self, version: int) -> None:
        """Write a byte to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"x")
        self.process.stdin.flush()


@asynccontextmanager
async def send_loop(folder: Path) -> AsyncIterator[Server]:
    """Run the loop that sends the frame. Raises MissingError."""
    program = compiled("send_loop", folder)
    port = free_port()
    (folder / "frame").write_bytes(encode_update(frame_of(1)).message.plain)
    process = subprocess.Popen([program, str(port), folder / "frame"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        await asyncio.to_thread(process.stdout.readline)
        yield SendLoop(port, process)
    finally:
        process.kill()
        process.wait()


def compiled(name: str, folder: Path) -> Path:
    """Compile a C file of this folder. Raises MissingError."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise MissingError("there is no C compiler: install gcc")
    program = folder / name
    subprocess.run([compiler, "-O2", "-Wall", "-o", program, HERE / f"{name}.c"], check=True)
    return program


async def _until_up(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
