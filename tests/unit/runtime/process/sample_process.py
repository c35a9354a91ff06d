"""A process put together as the services are, for the tests of its life; it says on stdout what happens to it.

The first argument is how it behaves. It is run as a program, never imported.
"""

from __future__ import annotations

import asyncio
import atexit
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from services.runtime.config.settings import ProcessConfig
from services.runtime.process.lifecycle import Stage, execute, run, spawn, wait_for
from services.runtime.telemetry.logging import configure


def say(text: str) -> None:
    print(text, flush=True)


class Part:
    """A server that says what is asked of it."""

    def __init__(self, name: str, stage: Stage = Stage.INBOUND, *, hangs: bool = False, blocks: bool = False) -> None:
        self.name = name
        self.stage = stage
        self.hangs = hangs
        self.blocks = blocks

    async def start(self) -> None:
        say(f"{self.name} starts")

    async def announce(self) -> None:
        say(f"{self.name} announced")

    async def withdraw(self) -> None:
        say(f"{self.name} withdrawn")

    async def stop(self) -> None:
        say(f"{self.name} stops")
        if self.hangs:
            await asyncio.Event().wait()
        if self.blocks:
            time.sleep(60)  # noqa: ASYNC251  # a loop that hangs is what is shown here


class Broken(Part):
    async def start(self) -> None:
        raise RuntimeError("it can't start")


class Worker(Part):
    async def start(self) -> None:
        await super().start()
        spawn("the worker", self._work())

    async def _work(self) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("it can't work")


@asynccontextmanager
async def store() -> AsyncIterator[None]:
    say("store opens")
    try:
        yield
    finally:
        say("store closes")


async def refuse() -> None:
    say("store is waited for")
    raise ConnectionError


async def main(mode: str) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(store())
        if mode.startswith("waits"):
            await wait_for("store", refuse, retry_on=ConnectionError)
        publisher = Part("publisher", Stage.PUBLISHER)
        inbound = Part("inbound", hangs=mode == "hangs", blocks=mode == "blocks")
        servers: list[Part] = [publisher, inbound]
        if mode == "broken":
            servers.append(Broken("broken"))
        if mode == "dies":
            servers.append(Worker("worker"))
        await run(*servers, grace=timedelta(seconds=1 if mode in ("hangs", "blocks") else 20))


if __name__ == "__main__":
    atexit.register(say, "atexit")
    configure(ProcessConfig(), "sample")
    limit = timedelta(milliseconds=50) if sys.argv[1] == "waits briefly" else timedelta(seconds=60)
    execute(main, sys.argv[1], startup=limit)
