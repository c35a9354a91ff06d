"""The life of a process: build, run, stop in one order. The only place where that order stands.

    start     servers start in the order given; when all have, each is announced (readiness becomes true)
    SIGTERM   1. withdraw   every server says NOT_SERVING / not ready, so that no new work is sent
              2. intake     what lets work in stops: gRPC within its grace, consumers drained, streams ended
              3. publishers what was accepted is handed over: flush, await the last acknowledgements
              4. return     `run` comes back, and the caller's AsyncExitStack closes the stores, last opened first

Intake has half of the grace given to `run`, publishers until four fifths of it, and at its end the process leaves
whatever still runs; so it does at once on a second signal. Owns signals and background tasks. Must never be needed for
importing anything: nothing happens before `execute`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from enum import IntEnum
from typing import Any, NoReturn, Protocol, TypeVar, runtime_checkable
from weakref import WeakKeyDictionary

import structlog

from services.runtime.config import ConfigError

C = TypeVar("C")
T = TypeVar("T")

DEFAULT_GRACE = timedelta(seconds=20)
# Longer than what a task does when it is cancelled in order.
_CANCEL_AGAIN_SECONDS = 3.0
_log = structlog.get_logger("lifecycle")


class Stage(IntEnum):
    """When a server stops; those of one stage stop together."""

    INTAKE = 1
    PUBLISHER = 2


# How much of the grace is gone when a stage has to be over; the rest is for closing stores and for leaving.
_OVER_AT = {Stage.INTAKE: 0.5, Stage.PUBLISHER: 0.8}


class Server(Protocol):
    """What `run` runs. One that is not of the stage INTAKE has an attribute `stage`."""

    async def start(self) -> None:
        """Begins to work and returns; called once."""
        ...

    async def stop(self) -> None:
        """Ends the work in order, within the grace it was built with; called once, after `start`."""
        ...


@runtime_checkable
class Announced(Protocol):
    """A server that tells the world whether it serves."""

    async def announce(self) -> None:
        """Says that the process serves; called when every server has started."""
        ...

    async def withdraw(self) -> None:
        """Says that the process does not serve any more; called before anything stops."""
        ...


class TaskDiedError(RuntimeError):
    """A background task ended by an exception; the process can't be trusted any more."""


class _Process:
    """The state of one event loop's process: asked to stop, failed, and its background tasks."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.failure: TaskDiedError | None = None
        self.tasks: set[asyncio.Task[Any]] = set()
        self.main: asyncio.Task[Any] | None = None
        self.serving = False
        self.grace = DEFAULT_GRACE
        self._watchdog: threading.Timer | None = None

    def stop(self, why: str) -> None:
        if self.stopping.is_set():
            return
        _log.info("stopping", reason=why)
        self.stopping.set()
        self.watch()
        if self.main is not None and not self.serving:
            self.main.cancel()  # it waits for a store, or for a server that is being started

    def watch(self) -> None:
        """Ends the process when the grace is over. The loop itself may be what hangs, so a thread watches."""
        if self.main is not None and self._watchdog is None:
            self._watchdog = threading.Timer(self.grace.total_seconds(), self._overdue, [asyncio.get_running_loop()])
            self._watchdog.daemon = True
            self._watchdog.start()

    def _overdue(self, loop: asyncio.AbstractEventLoop) -> None:
        """In the watchdog's thread: says what did not end, and leaves."""
        for task in asyncio.all_tasks(loop):
            task.print_stack(limit=3)
        _leave(70, "the shutdown grace is over")

    def on_signal(self, number: int) -> None:
        if self.stopping.is_set():
            _leave(128 + number, f"second signal ({signal.Signals(number).name})")
        self.stop(signal.Signals(number).name)

    def died(self, name: str, error: BaseException) -> None:
        _log.error("background task died", task=name, exc_info=error)
        if self.failure is None:
            self.failure = TaskDiedError(name)
            self.failure.__cause__ = error
        self.stop(f"background task {name} died")

    def close(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()


_processes: WeakKeyDictionary[asyncio.AbstractEventLoop, _Process] = WeakKeyDictionary()


def _process() -> _Process:
    loop = asyncio.get_running_loop()
    process = _processes.get(loop)
    if process is None:
        process = _processes[loop] = _Process()
    return process


def _leave(code: int, why: str) -> None:
    sys.stderr.write(f"leaving at once: {why}\n")
    sys.stderr.flush()
    os._exit(code)


def execute(main: Callable[[C], Coroutine[Any, Any, None]], config: C) -> NoReturn:
    """Runs a composition root to its end and exits: 0 after a signal or a plain return, 1 after a failure.

    From here on SIGTERM and SIGINT stop the process in order, also while `main` still waits for its stores. A failure
    is logged whole; a wrong setting that only `main` could find is printed, and exits 2, as others do. Leaves through
    SystemExit, so that what is registered with atexit runs.
    """
    code = 1
    try:
        with asyncio.Runner() as runner:
            code = runner.run(_supervised(main(config)))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        code = 2
    except Exception:  # noqa: BLE001  # whatever it was, it is logged and becomes the exit code
        _log.exception("the process failed")
    raise SystemExit(code)


async def _supervised(main: Coroutine[Any, Any, None]) -> int:
    process = _process()
    process.main = asyncio.current_task()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, process.on_signal, number)
    try:
        await main
    except asyncio.CancelledError:
        if not process.stopping.is_set():
            raise
    except TaskDiedError:
        pass  # logged where it died
    finally:
        await cancel(*process.tasks)
        process.close()
    return 1 if process.failure is not None else 0


async def run(*servers: Server, grace: timedelta = DEFAULT_GRACE) -> None:
    """Starts the servers, waits for a signal (or `request_stop`), and stops them in the order stated above.

    Returns when everything has stopped. Raises TaskDiedError, after the same orderly stop, if a background task died;
    raises what a server's `start` raised, after stopping those that had started.
    """
    process = _process()
    process.grace = grace
    started: list[Server] = []
    try:
        for server in servers:
            await server.start()
            started.append(server)
        process.serving = True
        if process.main is not None:
            # What is there now stays. Looking for cycles among it, some hundred thousand objects, would stop the loop for
            # 50 ms and more, time and again.
            gc.collect()
            gc.freeze()
        for server in servers:
            if isinstance(server, Announced):
                await server.announce()
        _log.info("ready")
        await process.stopping.wait()
    finally:
        process.serving = False
        process.watch()
        await _stop(started, grace.total_seconds())
        await cancel(*process.tasks)
        if process.main is None:
            # Without `execute` the loop outlives this run, and the next one begins anew.
            _processes.pop(asyncio.get_running_loop(), None)
    if process.failure is not None:
        raise process.failure


async def _stop(servers: list[Server], grace: float) -> None:
    begun = time.monotonic()
    announced = [(server, server.withdraw()) for server in servers if isinstance(server, Announced)]
    await _each("withdraw", announced, begun + grace * _OVER_AT[Stage.INTAKE])
    for stage, share in _OVER_AT.items():
        stopping = [(server, server.stop()) for server in servers if getattr(server, "stage", Stage.INTAKE) is stage]
        await _each("stop", stopping, begun + grace * share)


async def _each(verb: str, calls: Sequence[tuple[object, Awaitable[None]]], deadline: float) -> None:
    """Awaits the calls together; one that fails or is late is logged and does not keep the others from their turn."""
    limit = max(0.1, deadline - time.monotonic())
    outcomes = await asyncio.gather(*(asyncio.wait_for(call, limit) for _, call in calls), return_exceptions=True)
    for (server, _), outcome in zip(calls, outcomes, strict=True):
        if isinstance(outcome, TimeoutError):
            _log.error(f"{verb} took too long", server=type(server).__name__, seconds=round(limit, 1))
        elif isinstance(outcome, BaseException):
            _log.error(f"{verb} failed", server=type(server).__name__, exc_info=outcome)


def request_stop(why: str = "asked to") -> None:
    """Begins the orderly stop of the process that the running loop belongs to, as SIGTERM does."""
    _process().stop(why)


def spawn(name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Runs `work` beside the servers.

    If it dies by an exception, that is logged whole and the process stops in order with exit code 1, because a worker
    that is silently gone is worse than a restart. Its owner cancels it in `stop` (see `cancel`); a return is fine.
    """
    process = _process()
    task = asyncio.get_running_loop().create_task(work, name=name)
    process.tasks.add(task)

    def ended(done: asyncio.Task[T]) -> None:
        process.tasks.discard(done)
        error = None if done.cancelled() else done.exception()
        if error is not None:
            process.died(name, error)

    task.add_done_callback(ended)
    return task


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancels tasks and waits until they have ended, whatever they end with.

    One that goes on is cancelled again: up to Python 3.11 `asyncio.wait_for` can take a cancellation for its own.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN_SECONDS)


async def wait_for(
    name: str,
    attempt: Callable[[], Awaitable[T]],
    *,
    retry_on: type[Exception] | tuple[type[Exception], ...],
    never: type[Exception] | tuple[type[Exception], ...] = (),
    timeout: timedelta = timedelta(seconds=60),  # how long the retries go on, not one attempt
) -> T:
    """The first success of `attempt`, tried again every 0.1 to 1 s while it raises `retry_on` but not `never`.

    For what is started at the same moment as this process. Says so in the log at once and every 5 s; after `timeout`
    raises the last error.
    """
    begun = time.monotonic()
    said = begun - 10.0
    pause = 0.1
    while True:
        try:
            return await attempt()
        except never:
            raise
        except retry_on as error:
            now = time.monotonic()
            if now - begun >= timeout.total_seconds():
                _log.error("gave up waiting", store=name, seconds=round(now - begun), error=type(error).__name__)
                raise
            if now - said >= 5.0:
                _log.info("waiting", store=name, seconds=round(now - begun), error=type(error).__name__)
                said = now
        await asyncio.sleep(pause)
        pause = min(1.0, pause * 1.5)
