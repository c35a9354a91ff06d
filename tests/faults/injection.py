"""Faults as they are caused on a running system."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import nats
from nats.errors import Error as NatsError
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.streams import QUIZ_STREAM
from tests.deadline import deadline
from tests.faults.plan import Fault
from tests.replicas import second_instance
from tests.servers import RunningStack, run_topten

_DAY: Final = timedelta(days=1).total_seconds()


class Injection:
    """Causes faults; `say` is called with what could not be done.

    `replaced` has, for each time MongoDB's data was replaced, the moments between which an acknowledged write may have
    been lost by it, in monotonic time.
    """

    def __init__(self, stack: RunningStack, say: Callable[[str], None]) -> None:
        self.replaced: list[tuple[float, float]] = []
        self._stack = stack
        self._say = say

    async def cause(self, fault: Fault) -> None:
        """Cause a fault and return when it is over; the system may still be recovering."""
        match fault.kind:
            case "kill":
                await self._kill(fault.name)
            case "kill-repeatedly":
                for _ in range(3):
                    await self._kill(fault.name)
                    await asyncio.sleep(0.5)
            case "stop":
                async with self._stopped(fault.name):
                    await asyncio.sleep(fault.seconds)
            case "flush":
                await self._redis(Redis.flushall)
            case "unsubscribe":
                await self._redis(lambda redis: redis.client_kill_filter(_type="pubsub"))
            case "restore":
                await self._restore(fault.seconds)
            case "rewind":
                await self._rewind(fault.seconds)
            case "delete-stream":
                await self._delete_stream()
            case "empty-disk":
                async with self._stopped("nats"):
                    shutil.rmtree(self._stack.data / "nats" / "jetstream", ignore_errors=True)
                    await self._kill("nats")
            case "day-ahead":
                await self._shift(fault.name, _DAY, fault.seconds)
            case "day-behind":
                await self._shift(fault.name, -_DAY, fault.seconds)
            case _:
                raise AssertionError(f"unknown fault {fault.kind}")

    async def _kill(self, name: str) -> None:
        pid = self._stack.pid_of(name)
        os.kill(pid, signal.SIGKILL)
        async with deadline(f"{name} is started again"):
            while self._stack.pid_of(name) == pid:
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def _stopped(self, name: str) -> AsyncIterator[None]:
        """All threads of a process stopped; it may be killed meanwhile."""
        pid = self._stack.pid_of(name)
        os.kill(pid, signal.SIGSTOP)
        async with deadline(f"{name} is stopped"):
            while not _is_stopped(pid):
                await asyncio.sleep(0.02)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    async def _redis(self, do: Callable[[Redis], Awaitable[object]]) -> None:
        redis: Redis = Redis.from_url(self._stack.endpoints["stores"]["redis"], socket_timeout=2)
        async with redis:
            try:
                await do(redis)
            except (RedisError, OSError):
                self._say("redis did not respond")

    async def _restore(self, age: float) -> None:
        """Back up, let `age` seconds of play follow, and restore, with the commands of an operator."""
        file = str(self._stack.data.with_name("random.topten"))
        began = time.monotonic()
        await self._topten("backup", file)
        await asyncio.sleep(age)
        await self._topten("restore", file, "--yes")
        self.replaced.append((began, time.monotonic()))

    async def _rewind(self, age: float) -> None:
        """Copy MongoDB's files, let `age` seconds of play follow, and start MongoDB with the copy. Nobody is told."""
        files, copy = self._stack.data / "mongo" / "data", self._stack.data.with_name("copy")
        await self._mongo_responds()
        began = time.monotonic()
        async with self._stopped("mongo"):
            await asyncio.to_thread(shutil.copytree, files, copy)
        await asyncio.sleep(age)
        async with self._stopped("mongo"):
            await asyncio.to_thread(shutil.rmtree, files)
            copy.rename(files)
            await self._kill("mongo")
        await self._mongo_responds()
        self.replaced.append((began, time.monotonic()))

    async def _mongo_responds(self) -> None:
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(self._stack.endpoints["stores"]["mongo"])
        async with client, deadline("mongo responds"):
            while True:
                with suppress(PyMongoError):
                    if (await client.admin.command("hello"))["isWritablePrimary"]:
                        return
                await asyncio.sleep(0.05)

    async def _delete_stream(self) -> None:
        try:
            client = await nats.connect(
                self._stack.endpoints["stores"]["nats"], connect_timeout=2, allow_reconnect=False
            )
            try:
                await client.jetstream().delete_stream(QUIZ_STREAM)
            finally:
                await client.close()
        except (NatsError, OSError) as error:
            self._say(f"the stream was not deleted: {type(error).__name__}")

    async def _shift(self, name: str, shift: float, seconds: float) -> None:
        """Run another instance, whose clock is wrong, beside the right one."""
        module = ("tests.faults.shifted", name, str(int(shift)))
        wrong = second_instance(self._stack, name, wait="livez", module=module)
        try:
            await asyncio.to_thread(wrong.__enter__)
        except AssertionError as error:  # a store was away as it started
            self._say(str(error)[:300])
            return
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.to_thread(wrong.__exit__, None, None, None)

    async def _topten(self, *arguments: str) -> None:
        async with deadline(f"`topten {arguments[0]}` succeeds"):
            while True:
                done = await run_topten(*arguments, data=self._stack.data)
                if done.returncode == 0:
                    return
                self._say(f"topten {arguments[0]}: {done.stderr.strip()[-200:]}")


def _is_stopped(pid: int) -> bool:
    """Whether every thread of a process is stopped."""
    states = [path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(state == "T" for state in states)
