"""Processes forked from one that has already imported what all of them need.

Importing takes most of the CPU of a start, and every process imports the same libraries. `ForkServer` is the client's side: it
starts `python -m services.embedded.fork_server`, which imports them once and then forks a process for each request. A forked
process shares the memory of the imports, and runs as `python -m MODULE` would.

Linux alone: a process becomes the child of the one that asked for it, which is a "child subreaper" (prctl(2)), and dies
with it.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Any, Final

from setproctitle import setproctitle

from services.runtime.process.quick_start import hide_unused

# What every process imports. None of them has a state that depends on a setting, starts a thread or opens a file.
PRELOADED: Final = """
    aiohttp.web cryptography.hazmat.primitives.asymmetric.ed25519 google.protobuf.json_format grpc.aio jwt nats
    prometheus_client protovalidate pymongo.asynchronous.mongo_client redis.asyncio structlog
    services.runtime.grpc.server services.runtime.process.lifecycle services.runtime.process.ops_server
""".split()
# On a busy machine the imports take seconds.
SPAWN_SECONDS: Final = 120.0
MAX_REQUEST_BYTES: Final = 192 * 1024
MAX_RESPONSE_BYTES: Final = 256
_KILLED: Final = json.dumps([errno.ECONNRESET, 0])
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_INHERITED_SIGNALS: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


class ForkedProcess:
    """A process that `ForkServer` started. Its exit code is negative if a signal killed it, as in `subprocess`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""
        return self._reap(os.WNOHANG)

    def join(self) -> int:
        """Block until it has ended; return its exit code."""
        code = self._reap(0)
        assert code is not None
        return code

    async def wait(self) -> int:
        """Return its exit code once it has ended."""
        if self.poll() is None:
            loop, ended = asyncio.get_running_loop(), asyncio.Event()
            descriptor = os.pidfd_open(self.pid)
            loop.add_reader(descriptor, ended.set)
            try:
                await ended.wait()
            finally:
                loop.remove_reader(descriptor)
                os.close(descriptor)
        return self.join()

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _reap(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


class ForkServer:
    """Starts processes, one at a time. It is started by the first request, and again if it was killed since."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin with the imports, so that the first process need not wait for them."""
        if self._server is not None and self._server.poll() is None:
            return
        self.close()
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(SPAWN_SECONDS)
        with other:
            self._server = subprocess.Popen(  # noqa: S603  # this module, no command of anybody's choice
                [sys.executable, "-m", "services.embedded.fork_server", str(other.fileno()), str(os.getpid())],
                env={**os.environ, "SPT_NOENV": "1"},  # leave /proc/PID/environ as it is
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def spawn(self, command: Sequence[str], environ: Mapping[str, str], output: IO[bytes]) -> ForkedProcess:
        """Start `python -m`, then `command`: a module and its arguments. It leads a session and dies with this process.

        Raises OSError if no process can be made, or the server was killed or silent meanwhile. /proc/PID/environ is that
        of the server.
        """
        request = json.dumps({"command": list(command), "environ": dict(environ)}).encode()
        if len(request) > MAX_REQUEST_BYTES:
            raise OSError(errno.E2BIG, f"its environment is larger than {MAX_REQUEST_BYTES} bytes")
        with self._lock:
            self.start()
            assert self._socket is not None
            try:
                socket.send_fds(self._socket, [request], [output.fileno()])
                failed, pid = json.loads(self._socket.recv(MAX_RESPONSE_BYTES) or _KILLED)
            except OSError:
                self.close()  # a late response would be taken for that of the next request
                raise
        if failed:
            raise OSError(failed, os.strerror(failed))
        return ForkedProcess(pid)

    def close(self) -> None:
        """End the server. The processes that it started go on."""
        if self._socket is not None:
            self._socket.close()
        if self._server is not None:
            self._server.kill()
            self._server.wait()
        self._socket = self._server = None


def reset_signals() -> None:
    """Give signals that nohup or a background job ignores their default effect."""
    for number in _INHERITED_SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def die_with_parent(parent: int) -> bool:
    """Have the kernel kill this process when its parent dies; return whether the parent is still `parent`."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent


def _serve(channel: socket.socket, client: int) -> dict[str, Any]:
    """Fork a process for each request; return only in such a process, with its request."""
    while True:
        request, descriptors, _, _ = socket.recv_fds(channel, MAX_REQUEST_BYTES, 1)
        if not request:
            os._exit(0)
        try:
            forked = os.fork()
        except OSError as error:
            _respond(channel, failed=error.errno)
        else:
            if forked == 0:
                _become_child_of(client, channel, descriptors[0])
                loaded: dict[str, Any] = json.loads(request)
                return loaded
            os.waitpid(forked, 0)
        os.close(descriptors[0])


def _become_child_of(client: int, channel: socket.socket, output: int) -> None:
    """Fork once more and let the parent exit, so that the client, as a subreaper, becomes the parent of what is left."""
    between = os.pidfd_open(os.getpid())
    try:
        if os.fork() != 0:
            os._exit(0)
    except OSError as error:
        _respond(channel, failed=error.errno)
        os._exit(1)
    select.select([between], [], [])  # readable once it has ended and its child has the new parent
    os.close(between)
    if not die_with_parent(client):
        os._exit(127)
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    _respond(channel, pid=os.getpid())
    channel.close()


def _respond(channel: socket.socket, *, failed: int | None = 0, pid: int = 0) -> None:
    """Send the error's number, 0 if there is none, and the process ID."""
    channel.send(json.dumps([failed, pid]).encode())


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main(descriptor: int, client: int) -> None:
    """Import, serve, and in each forked process run its module; the interpreter then ends as that of any program."""
    reset_signals()
    if not die_with_parent(client):
        return
    hide_unused()
    gc.disable()  # until `lifecycle.execute`, as in a process that imports everything itself
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()
    request = _serve(socket.socket(fileno=descriptor), client)
    sys.argv = request["command"]
    setproctitle(f"{sys.executable} -m {' '.join(sys.argv)}")
    os.environ.clear()
    os.environ.update(request["environ"])
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
