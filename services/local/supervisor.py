"""Child processes: started, watched, started again, stopped in order.

Each child is a session of its own, so that Ctrl-C at the terminal reaches the supervisor alone, and is killed by the
kernel when the supervisor dies by whatever means, so that nothing is left behind. Linux only, for that reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import shutil
import signal
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from services.local.probes import FullDiskError, SickError
from services.local.programs import Program

STOP_SECONDS: Final = 15.0
# A child is looked after this often; one that is sick so many times in a row is started again.
TEND_SECONDS: Final = 2.0
SICK_TIMES: Final = 3
# A child that lives this long starts again without a pause; one that dies sooner waits longer each time.
SETTLED_SECONDS: Final = 10.0
MAX_PAUSE_SECONDS: Final = 10.0
MAX_OPEN_FILES: Final = 65_536
MAX_LOG_BYTES: Final = 16 * 1024 * 1024
# Who refuses its settings will do so again; whoever dies this often before it was ever ready won't be ready.
REFUSED_CODE: Final = 2
MAX_DEATHS_BEFORE_READY: Final = 5
_PR_SET_PDEATHSIG: Final = 1
_LAST_LINES: Final = 3
_libc = ctypes.CDLL(None, use_errno=True)

Report = Callable[[str], None]


class ChildFailedError(RuntimeError):
    """A child that did not become ready; the message says what it said last."""


class Child:
    """One program kept running until `stop`, unless it was never ready and refuses its settings or keeps dying.

    What it prints goes to `log`, its process id beside it into `.pid`; `report` is told when it dies and why.
    """

    def __init__(self, program: Program, log: Path, report: Report) -> None:
        self.program = program
        self._log = log
        self._report = report
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._tending: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._was_ready = False
        self._deaths = 0
        self._log_start = 0

    async def start(self) -> None:
        """Start the program and keep it running."""
        await self._spawn()
        self._watch = asyncio.create_task(self._keep(), name=f"watch {self.program.name}")
        self._tending = asyncio.create_task(self._tend(), name=f"tend {self.program.name}")

    async def wait_ready(self, seconds: float) -> None:
        """Return when the program says it is ready. Raises ChildFailedError after `seconds`, or when it was given up."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                await self.program.ready()
                self._was_ready = True
                return
            except Exception as error:  # noqa: BLE001  # whatever a probe raises means "not yet"
                if self._watch is not None and self._watch.done():
                    code = self._running().returncode
                    raise ChildFailedError(
                        f"{self.program.name} {_cause(code or 0)} before it was ready{self._last_words()}"
                    ) from None
                if time.monotonic() > deadline:
                    said = " ".join(str(error).split())[:200] or type(error).__name__
                    raise ChildFailedError(
                        f"{self.program.name} is not ready after {seconds:.0f} s ({said}){self._last_words()}"
                    ) from None
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL for whoever is still there after 15 s."""
        self._stopping.set()
        if self._watch is None or self._process is None:
            return
        if self._tending is not None:
            self._tending.cancel()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(self._watch), STOP_SECONDS)
        except TimeoutError:
            self._report(f"{self.program.name} did not stop within {STOP_SECONDS:.0f} s and was killed")
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._watch

    async def _keep(self) -> None:
        pause = 0.0
        while True:
            begun = time.monotonic()
            code = await self._running().wait()
            self._deaths += 1
            if self._stopping.is_set() or self._is_hopeless(code):
                return
            pause = 0.0 if time.monotonic() - begun > SETTLED_SECONDS else min(MAX_PAUSE_SECONDS, pause * 2 + 0.2)
            self._report(f"{self.program.name} {_cause(code)} and is started again{self._last_words()}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
                return
            await self._spawn_again()

    async def _tend(self) -> None:
        """While it runs: its log stays bounded, and it is started again when only that helps."""
        sick, full = 0, False
        while True:
            await asyncio.sleep(TEND_SECONDS)
            if _bound(self._log):
                self._log_start = 0
            if self.program.healthy is None or not self._was_ready:
                continue
            try:
                await self.program.healthy()
            except FullDiskError as error:
                sick = 0
                if not full:
                    self._report(
                        f"{self.program.name} has no room on the disk; it goes on when there is some ({error})"
                    )
                full = True
            except SickError as error:
                sick += 1
                if sick >= SICK_TIMES:
                    self._report(f"{self.program.name} can't do its work and is ended ({error})")
                    sick, full = 0, False
                    with contextlib.suppress(ProcessLookupError):
                        self._running().kill()
            else:
                sick, full = 0, False

    def _is_hopeless(self, code: int) -> bool:
        return not self._was_ready and (code == REFUSED_CODE or self._deaths >= MAX_DEATHS_BEFORE_READY)

    async def _spawn_again(self) -> None:
        """Start the program, later if the system has no process or no room for it now; whoever stops need not wait."""
        while not self._stopping.is_set():
            try:
                await self._spawn()
                if self._stopping.is_set():  # whoever stops has only seen the one before
                    self._running().terminate()
                return
            except OSError as error:
                self._report(f"{self.program.name} can't be started now ({error.strerror})")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), MAX_PAUSE_SECONDS)

    async def _spawn(self) -> None:
        _bound(self._log)
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                *self.program.argv,
                env=environ_of(self.program),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=partial(_die_with_parent, os.getpid()),  # two system calls, no locks
            )
        new = self._log.with_suffix(".pid.new")
        new.write_text(f"{self._process.pid}\n")
        new.replace(self._log.with_suffix(".pid"))  # whoever reads finds one of the two, never half of one

    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "started before it is watched"
        return self._process

    def _last_words(self) -> str:
        """The last lines that its present run has printed."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(self._log_start, os.fstat(file.fileno()).st_size - 4096))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        last = deque((line[:300] for line in lines if line.strip()), _LAST_LINES)
        return "".join(f"\n    {line}" for line in last)


class Supervisor:
    """Children in the order in which they were added; they stop in the reverse order."""

    def __init__(self, logs: Path, report: Report) -> None:
        self._logs = logs
        self._report = partial(_tell, report)
        self._children: list[Child] = []

    async def add(self, program: Program) -> Child:
        """Start a program and keep it running. It need not be ready yet."""
        self._logs.mkdir(parents=True, exist_ok=True)
        child = Child(program, self._logs / f"{program.name}.log", self._report)
        self._children.append(child)
        await child.start()
        return child

    async def stop(self) -> None:
        """Stop all, last added first: one must not outlive what it needs to stop in order."""
        while self._children:
            await self._children.pop().stop()


def environ_of(program: Program) -> dict[str, str]:
    """The whole environment in which a program is started: this process's, and its own before it."""
    own = program.environ
    # What is given by value here must not be given by file as well.
    return {key: value for key, value in os.environ.items() if key.removesuffix("_FILE") not in own} | dict(own)


def allow_many_connections() -> None:
    """Raise this process's limit of open files, and so its children's, to MAX_OPEN_FILES or what the system allows.

    The usual 1024 would end the edge's open streams there.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _die_with_parent(parent: int) -> None:
    """In the child, before it becomes the program: be killed when the parent dies (prctl(2))."""
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0 or os.getppid() != parent:
        os._exit(127)


def _tell(report: Report, line: str) -> None:
    # A terminal that is gone must not keep a child from being started again.
    with contextlib.suppress(OSError):
        report(line)


def _cause(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _bound(log: Path) -> bool:
    """Keep one older file and begin anew if the log is large, so that logs are bounded; True if that was done.

    Copied and cut, since the child goes on writing to the same file, at its end; what it writes in between is lost.
    """
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > MAX_LOG_BYTES:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)
            return True
    return False
