"""The lifecycle of a process: build, run, stop. The only place that defines the order of a stop.

    start     servers start in the given order; after the last one each is announced (the process becomes ready)
    SIGTERM   1. withdraw    every server reports NOT_SERVING / not ready, so that no new work is sent
              2. inbound     sources of work stop: gRPC within its grace, consumers drained, streams ended
              3. publishers  accepted work is handed over: flush, await the last acknowledgements
              4. return      `run` returns, and the caller's AsyncExitStack closes the stores, last opened first

Inbound servers have half of the grace given to `run`, publishers until four fifths of it. At its end, or on a second signal,
the process exits whatever is still running. Owns signals and background tasks. Nothing happens before `execute`.
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

from services.runtime.config.loading import ConfigError
from services.runtime.process.activity import PROCESS
from services.runtime.process.patience import PatientLoop

C = TypeVar("C")
T = TypeVar("T")

DEFAULT_GRACE = timedelta(seconds=20)
STARTUP = timedelta(seconds=60)
# Longer than the cleanup of a cancelled task takes.
_CANCEL_AGAIN_SECONDS = 3.0
_log = structlog.get_logger("lifecycle")


class Stage(IntEnum):
    """When a server stops. Servers of one stage stop together."""

    INBOUND = 1
    PUBLISHER = 2


# The part of the grace after which a stage must be over; the rest is for closing stores and exiting.
_OVER_AT = {Stage.INBOUND: 0.5, Stage.PUBLISHER: 0.8}


class Server(Protocol):
    """A part of the process that `run` starts and stops. Without an attribute `stage` it is INBOUND."""

    async def start(self) -> None:
        """Start to work and return. Called once."""
        ...

    async def stop(self) -> None:
        """Finish the work within its grace. Called once, after `start`."""
        ...


@runtime_checkable
class Announced(Protocol):
    """A server that reports whether the process is ready."""

    async def announce(self) -> None:
        """Report ready. Called when every server has started."""
        ...

    async def withdraw(self) -> None:
        """Report not ready. Called before any server stops."""
        ...


class TaskDiedError(RuntimeError):
    """A background task ended with an exception, so the process must be restarted."""


class _Process:
    """The state of the process on one event loop: stopping, failed, and its background tasks."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.failure: TaskDiedError | None = None
        self.tasks: set[asyncio.Task[Any]] = set()
        self.main: asyncio.Task[Any] | None = None
        self.serving = False
        self.grace = DEFAULT_GRACE
        self.startup = STARTUP
        self.created_at = time.monotonic()
        self._watchdog: threading.Timer | None = None

    def stop(self, why: str) -> None:
        if self.stopping.is_set():
            return
        _log.info("stopping", reason=why)
        self.stopping.set()
        self.watch()
        if self.main is not None and not self.serving:
            self.main.cancel()  # it is waiting for a store, or for a server to start

    def startup_left(self) -> timedelta:
        """The time that is left for the start of the process; without one, or when it serves, the time of one start."""
        if self.main is None or self.serving:
            return self.startup
        passed = timedelta(seconds=time.monotonic() - self.created_at)
        return max(timedelta(), self.startup - passed)

    def watch(self) -> None:
        """Exit when the grace is over. A thread watches, since the event loop itself may hang."""
        if self.main is not None and self._watchdog is None:
            self._watchdog = threading.Timer(self.grace.total_seconds(), self._overdue, [asyncio.get_running_loop()])
            self._watchdog.daemon = True
            self._watchdog.start()

    def _overdue(self, loop: asyncio.AbstractEventLoop) -> None:
        """Print the tasks that did not end, and exit. Runs in the watchdog's thread."""
        for task in asyncio.all_tasks(loop):
            task.print_stack(limit=3)
        _exit(70, "the shutdown grace is over")

    def on_signal(self, number: int) -> None:
        if self.stopping.is_set():
            _exit(128 + number, f"second signal ({signal.Signals(number).name})")
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


def exit_at_once(why: str) -> NoReturn:
    """End the process as a crash does, without finishing anything: what it holds in memory is worthless."""
    _log.error("exiting at once", reason=why)
    _exit(1, why)


def _exit(code: int, why: str) -> NoReturn:
    sys.stderr.write(f"exiting at once: {why}\n")
    sys.stderr.flush()
    os._exit(code)


def execute(main: Callable[[C], Coroutine[Any, Any, None]], config: C, *, startup: timedelta = STARTUP) -> NoReturn:
    """Run a composition root and exit: 0 after a signal or a plain return, 1 after a failure, 2 for a wrong setting.

    SIGTERM and SIGINT stop the process in order, also while `main` still waits for its stores. A failure is logged with
    its traceback. Exits through SystemExit, so that atexit handlers run. `startup` limits all waits for stores together.
    """
    code = 1
    gc.enable()  # `quick_start` turned it off for the imports
    try:
        with asyncio.Runner(loop_factory=PatientLoop) as runner:
            code = runner.run(_supervised(main(config), startup))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        code = 2
    except Exception:  # noqa: BLE001  # every failure is logged and becomes the exit code
        _log.exception("process failed")
    raise SystemExit(code)


async def _supervised(main: Coroutine[Any, Any, None], startup: timedelta) -> int:
    process = _process()
    process.startup = startup
    process.main = asyncio.current_task()
    PROCESS.note()  # a forked process has the time of the import, which may be hours ago
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, process.on_signal, number)
    try:
        await main
    except asyncio.CancelledError:
        if not process.stopping.is_set():
            raise
    except TaskDiedError:
        pass  # already logged
    finally:
        await cancel(*process.tasks)
        process.close()
    return 1 if process.failure is not None else 0


async def run(*servers: Server, grace: timedelta = DEFAULT_GRACE) -> None:
    """Start the servers, wait for a signal, and stop them in the documented order.

    Returns when all have stopped. After the same stop, raises TaskDiedError if a background task died, or the exception of
    a server's `start`.
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
            # The objects that exist now are permanent. Collecting among these hundreds of thousands would pause the event
            # loop for 50 ms and more, again and again.
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
            # Without `execute` the event loop outlives this run, and the next run needs a new state.
            _processes.pop(asyncio.get_running_loop(), None)
    if process.failure is not None:
        raise process.failure


async def _stop(servers: list[Server], grace: float) -> None:
    started = time.monotonic()
    announced = [(server, server.withdraw()) for server in servers if isinstance(server, Announced)]
    await _each("withdraw", announced, started + grace * _OVER_AT[Stage.INBOUND])
    for stage, share in _OVER_AT.items():
        stopping = [(server, server.stop()) for server in servers if getattr(server, "stage", Stage.INBOUND) is stage]
        await _each("stop", stopping, started + grace * share)


async def _each(verb: str, calls: Sequence[tuple[object, Awaitable[None]]], deadline: float) -> None:
    """Await the calls together. A failed or late call is logged and does not affect the others."""
    limit = max(0.1, deadline - time.monotonic())
    outcomes = await asyncio.gather(*(asyncio.wait_for(call, limit) for _, call in calls), return_exceptions=True)
    for (server, _), outcome in zip(calls, outcomes, strict=True):
        if isinstance(outcome, TimeoutError):
            _log.error(f"{verb} took too long", server=type(server).__name__, seconds=round(limit, 1))
        elif isinstance(outcome, BaseException):
            _log.error(f"{verb} failed", server=type(server).__name__, exc_info=outcome)


def spawn(name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Run `work` as a background task.

    If it raises, the exception is logged and the process stops in order with exit code 1: a restart is better than a worker
    that is missing silently. It may return; its owner cancels it in `stop` (see `cancel`).
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
    """Cancel tasks and wait until they have ended, whatever their outcome.

    A task that keeps running is cancelled again: up to Python 3.11, `asyncio.wait_for` can swallow a cancellation.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_CANCEL_AGAIN_SECONDS)


def startup_left() -> timedelta:
    """The time within which a process that starts must reach what it needs; 60 s outside `execute`."""
    return _process().startup_left()


async def wait_for(
    name: str,
    attempt: Callable[[], Awaitable[T]],
    *,
    retry_on: type[Exception] | tuple[type[Exception], ...],
    never: type[Exception] | tuple[type[Exception], ...] = (),
    timeout: timedelta | None = None,  # of all attempts together; None is `startup_left`
) -> T:
    """Retry `attempt` every 0.1 to 1 s while it raises `retry_on` but not `never`, and return its first result.

    For servers that are started together with this process. Waiting is logged at once and every 5 s. Raises the last error
    after `timeout`.
    """
    limit = (startup_left() if timeout is None else timeout).total_seconds()
    started = time.monotonic()
    logged_at = started - 10.0
    pause = 0.1
    while True:
        try:
            return await attempt()
        except never:
            raise
        except retry_on as error:
            now = time.monotonic()
            if now - started >= limit:
                _log.error("gave up waiting", store=name, seconds=round(now - started), error=type(error).__name__)
                raise
            if now - logged_at >= 5.0:
                _log.info("waiting", store=name, seconds=round(now - started), error=type(error).__name__)
                logged_at = now
        await asyncio.sleep(pause)
        pause = min(1.0, pause * 1.5)
