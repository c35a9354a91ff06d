"""Forked processes: they run, end and die as any other, whatever happens to the one that forked them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.embedded.fork_server import MAX_REQUEST_BYTES, ForkedProcess, ForkServer
from tests.deadline import deadline, eventually, poll
from tests.servers import is_alive

PROGRAM = "tests.unit.embedded.forked_program"
PARENT = f"""
import os, sys, time
from services.embedded.fork_server import ForkServer
with open(sys.argv[1], "wb") as output:
    print(ForkServer().spawn(({PROGRAM!r}, "sleep"), {{"TOPTEN_SHOWN": "orphan"}}, output).pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    server = ForkServer()
    server.start()
    yield server
    server.close()


def spawn(server: ForkServer, output: Path, *arguments: str) -> ForkedProcess:
    with output.open("wb") as file:
        return server.spawn((PROGRAM, *arguments), {"TOPTEN_SHOWN": "shown"}, file)


@pytest.mark.parametrize(("argument", "code"), [("0", 0), ("3", 3), ("kill", -signal.SIGKILL), ("raise", 1)])
async def test_forked_process_ends_with_its_own_code_and_output(
    server: ForkServer, tmp_path: Path, argument: str, code: int
) -> None:
    process = spawn(server, tmp_path / "output", argument)
    async with deadline("the process ends"):
        assert await process.wait() == code
    printed = (tmp_path / "output").read_text()
    assert printed.splitlines()[0] == f"{argument} shown {os.getpid()} {PROGRAM}"
    assert ("ValueError: on purpose" in printed) == (argument == "raise")


async def test_killed_server_takes_nobody_with_it_and_is_replaced(server: ForkServer, tmp_path: Path) -> None:
    first = spawn(server, tmp_path / "first", "sleep")
    assert server._server is not None
    server._server.kill()
    server._server.wait()
    second = spawn(server, tmp_path / "second", "0")
    async with deadline("the process ends"):
        assert await second.wait() == 0
    assert first.poll() is None
    assert PROGRAM in Path(f"/proc/{first.pid}/cmdline").read_text()
    first.terminate()
    assert first.join() == -signal.SIGTERM


async def test_forked_process_dies_with_the_process_that_asked_for_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "output")], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())

        async def runs() -> bool:
            return "sleep orphan" in (tmp_path / "output").read_text()

        await eventually(runs, "the forked process runs")
        parent.kill()
    poll(lambda: not is_alive(pid), "the forked process has died")


def test_environment_that_is_too_large_is_an_error(server: ForkServer, tmp_path: Path) -> None:
    with (tmp_path / "output").open("wb") as file, pytest.raises(OSError, match="larger than"):
        server.spawn((PROGRAM, "0"), {"TOPTEN_SHOWN": "x" * MAX_REQUEST_BYTES}, file)
