"""Child processes: start, watch, restart, stop in order.

Each child has its own session, so that Ctrl-C at the terminal reaches only the supervisor, and default signal
dispositions, however the supervisor was started. On Linux the kernel kills it when the supervisor dies, so that no process
is left behind, and processes of Topten are forked from one that has imported what all of them need; elsewhere the children
of a killed supervisor go on, and each process imports for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Final

from services.embedded.fork_server import ForkedProcess, ForkServer, die_with_parent, reset_signals
from services.embedded.probes import FullDiskError, UnhealthyError, UnusableError
from services.embedded.programs import Program
from services.runtime.files import replace_file

STOP_SECONDS: Final = 15.0
READY_POLL_SECONDS: Final = 0.05
# A probe costs CPU that the starting child needs, so the pause between two grows by a quarter, up to this.
MAX_READY_POLL_SECONDS: Final = 0.25
# A store that starts may refuse for a moment what it accepts later.
UNUSABLE_SECONDS: Final = 3.0
HEALTH_CHECK_SECONDS: Final = 6.0
CHECK_AGAIN_SECONDS: Final = 1.0
# A child is restarted after this many failed health checks in a row.
MAX_FAILED_CHECKS: Final = 3
# A child that lived this long is restarted without a pause; the pause grows while children die sooner.
SETTLED_SECONDS: Final = 10.0
MAX_PAUSE_SECONDS: Final = 10.0
MAX_OPEN_FILES: Final = 65_536
MAX_LOG_BYTES: Final = 16 * 1024 * 1024
# A child that exits with this code refuses its settings; it and one that dies too often before it is ready are given up.
REFUSED_CODE: Final = 2
MAX_DEATHS_BEFORE_READY: Final = 5
_LAST_LINES: Final = 3
_LINUX: Final = sys.platform == "linux"

Report = Callable[[str], None]


class ChildFailedError(RuntimeError):
    """A child did not become ready; the message has its last output."""


class Child:
    """One program, kept running until `stop` or given up before it was ever ready.

    Its output is appended to `log`, its process id is in the `.pid` file beside it; `report` receives every restart and
    its cause.
    """

    def __init__(self, program: Program, log: Path, report: Report, fork_server: ForkServer) -> None:
        self.program = program
        self._log = log
        self._report = report
        self._fork_server = fork_server
        self._process: asyncio.subprocess.Process | ForkedProcess | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._health_checks: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._was_ready = False
        self._deaths = 0
        self._log_start = 0

    async def start(self) -> None:
        """Start the program and keep it running."""
        await self._spawn()
        self._watcher = asyncio.create_task(self._restart_on_exit(), name=f"watch {self.program.name}")
        self._health_checks = asyncio.create_task(self._check_health(), name=f"check {self.program.name}")

    async def wait_ready(self, seconds: float) -> None:
        """Return when the program is ready. Raises ChildFailedError after `seconds`, or when it was given up."""
        deadline = time.monotonic() + seconds
        pause = READY_POLL_SECONDS
        unusable_since = 0.0
        while True:
            try:
                await self.program.ready()
                self._was_ready = True
                return
            except Exception as error:  # noqa: BLE001  # whatever a probe raises means "not yet"
                if isinstance(error, UnusableError):
                    unusable_since = unusable_since or time.monotonic()
                    if time.monotonic() - unusable_since > UNUSABLE_SECONDS:
                        raise ChildFailedError(f"{self.program.name} cannot be used: {error}") from None
                if self._watcher is not None and self._watcher.done():
                    code = self._running().returncode
                    raise ChildFailedError(
                        f"{self.program.name} {_cause(code or 0)} before it was ready{self._last_output()}"
                    ) from None
                if time.monotonic() > deadline:
                    reason = " ".join(str(error).split())[:200] or type(error).__name__
                    raise ChildFailedError(
                        f"{self.program.name} is not ready after {seconds:.0f} s ({reason}){self._last_output()}"
                    ) from None
            await asyncio.sleep(pause)
            pause = min(MAX_READY_POLL_SECONDS, pause * 1.25)

    async def stop(self) -> None:
        """Send SIGTERM, and SIGKILL after STOP_SECONDS."""
        self._stopping.set()
        if self._watcher is None or self._process is None:
            return
        if self._health_checks is not None:
            self._health_checks.cancel()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(self._watcher), STOP_SECONDS)
        except TimeoutError:
            self._report(f"{self.program.name} did not stop within {STOP_SECONDS:.0f} s and was killed.")
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._watcher

    async def _restart_on_exit(self) -> None:
        pause = 0.0
        while True:
            started = time.monotonic()
            code = await self._running().wait()
            self._deaths += 1
            if self._stopping.is_set() or self._is_hopeless(code):
                return
            pause = 0.0 if time.monotonic() - started > SETTLED_SECONDS else min(MAX_PAUSE_SECONDS, pause * 2 + 0.2)
            self._report(f"{self.program.name} {_cause(code)} and is restarted.{self._last_output()}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
                return
            await self._spawn_again()

    async def _check_health(self) -> None:
        """Bound the log, and kill the child when only a restart helps."""
        failed, full = 0, False
        while True:
            # Those of all children at once: at rest, waking up costs more than a look at the log.
            until_next = HEALTH_CHECK_SECONDS - time.monotonic() % HEALTH_CHECK_SECONDS
            await asyncio.sleep(CHECK_AGAIN_SECONDS if failed else until_next)
            if _rotate(self._log):
                self._log_start = 0
            if self.program.healthy is None or not self._was_ready:
                continue
            try:
                await self.program.healthy()
            except FullDiskError as error:
                failed = 0
                if not full:
                    self._report(f"{self.program.name}: the disk is full. Free space; it then continues. ({error})")
                full = True
            except UnhealthyError as error:
                failed += 1
                if failed >= MAX_FAILED_CHECKS:
                    self._report(f"{self.program.name} is unhealthy and is killed. ({error})")
                    failed, full = 0, False
                    with contextlib.suppress(ProcessLookupError):
                        self._running().kill()
            else:
                failed, full = 0, False

    def _is_hopeless(self, code: int) -> bool:
        return not self._was_ready and (code == REFUSED_CODE or self._deaths >= MAX_DEATHS_BEFORE_READY)

    async def _spawn_again(self) -> None:
        """Start the program; retry while the system lacks memory or processes, until `stop`."""
        while not self._stopping.is_set():
            try:
                await self._spawn()
                if self._stopping.is_set():  # `stop` sent its signal to the previous process
                    self._running().terminate()
                return
            except OSError as error:
                self._report(f"{self.program.name} could not be started and is tried again: {error.strerror or error}.")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), MAX_PAUSE_SECONDS)

    async def _spawn(self) -> None:
        _rotate(self._log)
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            self._process = await self._spawn_into(log)
        replace_file(self._log.with_suffix(".pid"), f"{self._process.pid}\n")

    async def _spawn_into(self, log: IO[bytes]) -> asyncio.subprocess.Process | ForkedProcess:
        environ = environ_of(self.program)
        if self.program.module and _LINUX:
            return await asyncio.to_thread(self._fork_server.spawn, (self.program.module,), environ, log)
        return await asyncio.create_subprocess_exec(
            *self.program.argv,
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=partial(_prepare_child, os.getpid()),  # system calls only, no locks
        )

    def _running(self) -> asyncio.subprocess.Process | ForkedProcess:
        assert self._process is not None, "`start` comes first"
        return self._process

    def _last_output(self) -> str:
        """The last lines that the current process printed."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(self._log_start, os.fstat(file.fileno()).st_size - 4096))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        last = deque((_readable(line)[:300] for line in lines if line.strip()), _LAST_LINES)
        return "".join(f"\n    {line}" for line in last)


class Supervisor:
    """Children that stop in the reverse of the order in which they were added."""

    def __init__(self, logs: Path, report: Report) -> None:
        self._logs = logs
        self._report = partial(_report_safely, report)
        self._children: list[Child] = []
        self._fork_server = ForkServer()

    def prepare(self) -> None:
        """Begin with the imports that processes of Topten share, while other programs start."""
        if _LINUX:
            self._fork_server.start()

    async def add(self, program: Program) -> Child:
        """Start a program and keep it running; return before it is ready."""
        self._logs.mkdir(parents=True, exist_ok=True)
        child = Child(program, self._logs / f"{program.name}.log", self._report, self._fork_server)
        self._children.append(child)
        await child.start()
        return child

    async def stop(self) -> None:
        """Stop all children, last added first: each needs the earlier ones for an orderly stop."""
        while self._children:
            await self._children.pop().stop()
        self._fork_server.close()


def environ_of(program: Program, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a child: that of this process, overridden by the program's own variables."""
    own = program.environ
    # A setting is given by value or by file, never both.
    return {key: value for key, value in inherited.items() if key.removesuffix("_FILE") not in own} | dict(own)


def allow_many_connections() -> None:
    """Raise the limit of open files of this process and its children to MAX_OPEN_FILES or what the system allows.

    The usual 1024 would limit the edge to fewer open streams.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _prepare_child(parent: int) -> None:
    """Before exec, in the child."""
    reset_signals()
    if _LINUX and not die_with_parent(parent):
        os._exit(127)


def _report_safely(report: Report, line: str) -> None:
    # A closed terminal must not prevent a restart.
    with contextlib.suppress(OSError):
        report(line)


def _readable(line: str) -> str:
    """A line of a log for the terminal: of a JSON object (MongoDB, production processes) its message and its error."""
    try:
        record = json.loads(line)
        details = record.get("attr", record)
        error = next((details[key] for key in ("error", "exception", "detail") if details.get(key)), "")
        message = record.get("msg") or record["message"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return line
    if isinstance(error, dict):
        error = error.get("errmsg", error)
    return f"{message}: {str(error).strip().splitlines()[-1]}" if str(error).strip() else str(message)


def _cause(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"exited with code {code}"


def _rotate(log: Path) -> bool:
    """Copy a large log to `.log.1` and truncate it; return whether it did. Output in between is lost.

    The child keeps the file open in append mode, so the file cannot be renamed.
    """
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > MAX_LOG_BYTES:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)
            return True
    return False
