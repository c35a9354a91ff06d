"""Further instances of the processes of a running system, for tests."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.deadline import poll
from tests.fork_server import FORK_SERVER
from tests.servers import HOST, RunningStack, free_port


@contextmanager
def second_instance(
    stack: RunningStack, name: str, *, wait: str = "readyz", module: Sequence[str] = (), **changes: str
) -> Iterator[dict[str, str]]:
    """Another instance of one of the stack's processes on its own ports; yields its environment, with the addresses.

    `changes` are settings without their prefix TOPTEN_, such as UPSTREAM_LEADERBOARD; `wait` is the path that must return
    200 first; `module` is a module to run instead of the service, and its arguments.
    """
    environ = stack.environ_of(name)
    kind = "HTTP" if name == "edge" else "GRPC"
    for setting in (f"TOPTEN_{name.upper()}_{kind}_ADDRESS", f"TOPTEN_{name.upper()}_OPS_ADDRESS"):
        environ[setting] = f"{HOST}:{free_port()}"
    environ |= {f"TOPTEN_{setting}": value for setting, value in changes.items()}
    module = module or ["edge" if name == "edge" else f"services.{name}"]
    log = stack.data / "logs" / f"second-{name}.log"
    with log.open("wb") as output:
        process = FORK_SERVER.spawn(module, environ, output)
    try:
        # The edge's public address is ready once everything behind it is.
        address = "TOPTEN_EDGE_HTTP_ADDRESS" if name == "edge" else f"TOPTEN_{name.upper()}_OPS_ADDRESS"
        poll(
            lambda: process.poll() is not None or _is_ready(f"http://{environ[address]}/{wait}"),
            f"the second {name} is ready",
        )
        assert process.poll() is None, f"the second {name} did not start:\n{log.read_text()}"
        yield environ
    finally:
        process.terminate()
        try:
            poll(lambda: process.poll() is not None, f"the second {name} has stopped")
        finally:
            process.kill()
            process.join()


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
