"""What a process imports when it starts. A heavy package costs 30 to 200 ms of CPU and some MiB permanently.

A package that is not listed here makes every start dearer: import it where it is used, or list it because the process needs
it. `unit/cli/test_imports.py` does the same for the command.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

# Each with a module that is loaded only when the package is really used.
HEAVY = {
    "aiohttp": "aiohttp.client",
    "argon2": "argon2.low_level",
    "cryptography": "cryptography.x509",
    "graphql": "graphql.execution.execute",
    "grpc": "grpc.aio",
    "nats": "nats.aio.client",
    "opentelemetry": "opentelemetry.sdk.metrics",
    "opentelemetry traces": "opentelemetry.sdk.trace",
    "protovalidate": "protovalidate",
    "pymongo": "pymongo.asynchronous.mongo_client",
    "redis": "redis.asyncio.client",
    "rich": "rich.console",
    "rich tracebacks": "rich.traceback",
    "strawberry": "strawberry.schema",
    "typer": "typer",
}
SERVER = {"aiohttp", "cryptography", "grpc", "protovalidate"}
NEEDED = {
    "services.identity": SERVER | {"argon2", "nats", "pymongo"},
    "services.quiz": SERVER | {"nats", "pymongo", "redis"},
    "services.score": SERVER | {"nats", "pymongo", "redis"},
    "services.leaderboard": SERVER | {"pymongo", "redis"},
    "edge": {"aiohttp", "cryptography", "graphql", "grpc", "redis", "strawberry"},
}
REPORT = f"""
import atexit, sys
loaded = lambda: [name for name, module in {HEAVY!r}.items() if sys.modules.get(module) is not None]
atexit.register(lambda: print("loaded", *loaded(), sep="|", file=sys.stderr))
sys.argv = ["topten", "--help"]
"""


def loaded_by(start: str) -> set[str]:
    """The heavy packages that are loaded when a program has printed its help."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT + start], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split("|")[1:])


@pytest.mark.parametrize("process", NEEDED)
def test_a_process_imports_no_heavy_package_that_it_does_not_need(process: str) -> None:
    start = f"import runpy; runpy.run_module({process!r}, run_name='__main__', alter_sys=True)"
    assert loaded_by(start) == NEEDED[process]
