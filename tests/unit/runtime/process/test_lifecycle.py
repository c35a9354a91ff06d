"""The order in which a process lives and dies: real processes, real signals."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from services.runtime.process.lifecycle import Stage, TaskDiedError, cancel, run, spawn, wait_for
from tests.deadline import deadline, deadline_seconds

PROGRAM = Path(__file__).with_name("sample_process.py")
STARTED = ["store opens", "publisher starts", "inbound starts", "publisher announced", "inbound announced"]
STOPPED = ["publisher withdrawn", "inbound withdrawn", "inbound stops", "publisher stops", "store closes", "atexit"]

# Runs a program as the first process of a container.
FIRST = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")


def can_be_first() -> bool:
    """Whether this machine lets a test start the first process of a namespace."""
    return (
        shutil.which("unshare") is not None
        and subprocess.run([*FIRST, "true"], capture_output=True, check=False).returncode == 0
    )


class Sample:
    """The process under test, and what it has said so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[str] = []

    async def until(self, line: str) -> None:
        assert self.process.stdout is not None
        while True:
            raw = await asyncio.wait_for(self.process.stdout.readline(), deadline_seconds())
            assert raw, f"it ended before it said {line!r}: {self.said}"
            self.said.append(raw.decode().strip())
            if self.said[-1] == line:
                return

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def end(self) -> str:
        """What it wrote to stderr; everything it said is in `said` and its code is known afterwards."""
        out, err = await asyncio.wait_for(self.process.communicate(), deadline_seconds())
        self.said += out.decode().split("\n")[:-1]
        return err.decode()


@asynccontextmanager
async def sample(mode: str) -> AsyncIterator[Sample]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROGRAM),
        mode,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(PROGRAM.parents[3])},
    )
    try:
        yield Sample(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_in_the_documented_order(number: signal.Signals) -> None:
    async with sample("serves") as process:
        await process.until("inbound announced")
        process.signal(number)
        await process.end()
        assert process.said == STARTED + STOPPED
        assert process.process.returncode == 0


async def test_a_signal_ends_the_wait_for_a_store() -> None:
    async with sample("waits") as process:
        await process.until("store is waited for")
        process.signal(signal.SIGTERM)
        err = await process.end()
        assert {*process.said} == {"store opens", "store is waited for", "store closes", "atexit"}
        assert process.said[-2:] == ["store closes", "atexit"]
        assert process.process.returncode == 0
        assert "waiting store=store" in err


async def test_a_process_gives_up_when_its_startup_is_over() -> None:
    async with sample("waits briefly") as process:
        err = await process.end()
        assert process.process.returncode == 1
        assert "gave up waiting" in err
        assert process.said[-2:] == ["store closes", "atexit"]


@pytest.mark.skipif(not can_be_first(), reason="needs util-linux and user namespaces")
async def test_the_first_process_of_a_container_obeys_a_signal_while_it_is_imported() -> None:
    """The kernel ignores a signal to process 1 that has no handler."""
    young = "import os, services; print(os.getpid(), flush=True); open(0).read()"
    process = await asyncio.create_subprocess_exec(
        *FIRST, sys.executable, "-c", young, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with deadline("the process ends"):
        assert await process.stdout.readline() == b"1\n"
        (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(first), signal.SIGTERM)
        assert await process.wait() == 128 + signal.SIGTERM


async def test_a_second_signal_ends_at_once() -> None:
    async with sample("hangs") as process:
        await process.until("inbound announced")
        process.signal(signal.SIGTERM)
        await process.until("inbound stops")
        process.signal(signal.SIGTERM)
        assert "second signal" in await process.end()
        assert process.process.returncode == 128 + signal.SIGTERM
        assert "atexit" not in process.said


async def test_a_server_that_hangs_does_not_keep_the_others_from_stopping() -> None:
    async with sample("hangs") as process:
        await process.until("inbound announced")
        process.signal(signal.SIGTERM)
        err = await process.end()
        assert process.said == STARTED + STOPPED
        assert "stop took too long server=Part" in err
        assert process.process.returncode == 0


async def test_a_loop_that_hangs_is_left_when_the_grace_is_over() -> None:
    async with sample("blocks") as process:
        await process.until("inbound announced")
        process.signal(signal.SIGTERM)
        assert "the shutdown grace is over" in await process.end()
        assert process.process.returncode == 70


async def test_a_background_task_that_dies_ends_the_process_with_its_reason() -> None:
    async with sample("dies") as process:
        err = await process.end()
        assert process.said[-len(STOPPED) :][-2:] == ["store closes", "atexit"]
        assert "inbound stops" in process.said
        assert 'background task died task="the worker"' in err
        assert "RuntimeError: it can't work" in err
        assert process.process.returncode == 1


async def test_a_server_that_cannot_start_stops_those_that_have() -> None:
    async with sample("broken") as process:
        err = await process.end()
        assert process.said[3:] == STOPPED
        assert "RuntimeError: it can't start" in err
        assert process.process.returncode == 1


@dataclass
class Recorder:
    """A server without announcements."""

    name: str
    log: list[str]
    stage: Stage = Stage.INBOUND
    fails: bool = False
    started: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        self.log.append(f"{self.name} starts")
        self.started.set()

    async def stop(self) -> None:
        self.log.append(f"{self.name} stops")
        if self.fails:
            raise RuntimeError("stopping failed")


async def test_publishers_stop_after_inbound_servers_even_if_those_fail() -> None:
    log: list[str] = []
    last = Recorder("c", log)
    running = asyncio.create_task(run(Recorder("a", log, Stage.PUBLISHER), Recorder("b", log, fails=True), last))
    await last.started.wait()
    await cancel(running)
    assert log[:3] == ["a starts", "b starts", "c starts"]
    assert log[-1] == "a stops"
    assert {*log[3:5]} == {"b stops", "c stops"}


async def test_run_says_which_task_died() -> None:
    async def die() -> None:
        raise ValueError("reason")

    log: list[str] = []
    server = Recorder("a", log)
    running = asyncio.create_task(run(server))
    await server.started.wait()
    task = spawn("t", die())
    with pytest.raises(TaskDiedError) as caught:
        await running
    assert isinstance(caught.value.__cause__, ValueError)
    assert task.done()
    assert log == ["a starts", "a stops"]


async def test_tasks_that_are_left_are_cancelled_at_the_end() -> None:
    server = Recorder("a", [])
    running = asyncio.create_task(run(server))
    await server.started.wait()
    task = spawn("left", asyncio.Event().wait())
    await cancel(running)
    assert task.cancelled()


async def test_a_task_that_returns_or_is_cancelled_is_no_failure() -> None:
    async def work() -> int:
        return 7

    server = Recorder("a", [])
    running = asyncio.create_task(run(server))
    await server.started.wait()
    waiting = spawn("waiting", asyncio.Event().wait())
    assert await spawn("done", work()) == 7
    await cancel(waiting)
    assert not running.done()
    await cancel(running)


async def test_waiting_ends_with_the_first_success() -> None:
    attempts: list[int] = []

    async def attempt() -> str:
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError
        return "open"

    assert await wait_for("store", attempt, retry_on=ConnectionError) == "open"
    assert len(attempts) == 3


async def test_waiting_is_bounded_and_other_errors_pass_at_once() -> None:
    async def attempt() -> None:
        raise ConnectionError

    async def faulty() -> None:
        raise ValueError("wrong password")

    with pytest.raises(ConnectionError):
        await wait_for("store", attempt, retry_on=ConnectionError, timeout=timedelta())
    with pytest.raises(ValueError, match="wrong password"):
        await wait_for("store", faulty, retry_on=ConnectionError)


async def test_a_task_that_swallows_its_cancellation_is_cancelled_again() -> None:
    async def deaf() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await cancel(task)
    assert task.cancelled()
