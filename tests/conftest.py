"""Fixtures that every test may use: one server of each kind and one whole system for the session."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests.outside import OUTSIDE_ISSUERS
from tests.servers import STAND_INS, VALKEY, RunningStack, running, running_stack, started_cluster

# Fast enough that a test need not wait, slow enough that frames still coalesce.
STACK_SETTINGS = {"TOPTEN_LEADERBOARD_TICK": "100ms", "TOPTEN_AUTH_ISSUERS": OUTSIDE_ISSUERS}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--servers mongo=URL,redis=URL,nats=URL` against servers elsewhere; `redis=cluster`, `redis=valkey`: on these."""
    parser.addoption(
        "--servers",
        default="",
        help="mongo=URL,redis=URL,nats=URL instead of embedded ones; redis=cluster or valkey: each embedded Redis is one",
    )


@pytest.fixture(scope="session", autouse=True)
def elsewhere(pytestconfig: pytest.Config) -> Iterator[dict[str, str]]:
    """The servers named by --servers."""
    # A URL may have commas of its own, between the nodes of a cluster.
    given = re.split(r",(?=(?:mongo|redis|nats)=)", pytestconfig.getoption("--servers"))
    found = {name: url for name, _, url in (pair.partition("=") for pair in given if pair)}
    for name in [name for name, url in found.items() if "://" not in url]:
        STAND_INS[name] = found.pop(name)
    with tempfile.TemporaryDirectory(prefix="topten-path-") as folder:
        if STAND_INS.get("redis") == "valkey":
            # A program on PATH goes before the wheel's, so whoever starts a Redis starts this, `topten up` as well.
            (Path(folder) / "redis-server").symlink_to(VALKEY)
            os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
        yield found


async def _url(name: str, elsewhere: dict[str, str]) -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        if name in elsewhere:
            yield elsewhere[name]
        else:
            server = await stack.enter_async_context(running(name))
            yield server.url


@pytest_asyncio.fixture(scope="session")
async def mongo_url(elsewhere: dict[str, str]) -> AsyncIterator[str]:
    """A MongoDB replica set."""
    async for url in _url("mongo", elsewhere):
        yield url


@pytest_asyncio.fixture(scope="session")
async def redis_url(elsewhere: dict[str, str]) -> AsyncIterator[str]:
    """A Redis server."""
    async for url in _url("redis", elsewhere):
        yield url


@pytest_asyncio.fixture(scope="session")
async def nats_url(elsewhere: dict[str, str]) -> AsyncIterator[str]:
    """A NATS server with JetStream."""
    async for url in _url("nats", elsewhere):
        yield url


@pytest.fixture(scope="session")
def stack(elsewhere: dict[str, str]) -> Iterator[RunningStack]:
    """The whole system, started by `topten up`. A test that disturbs it starts its own by `running_stack`."""
    urls = {f"TOPTEN_{name.upper()}_URL": url for name, url in elsewhere.items()}
    with ExitStack() as others:
        if STAND_INS.get("redis") == "cluster":
            urls["TOPTEN_REDIS_URL"] = others.enter_context(started_cluster()).url
        yield others.enter_context(running_stack({**STACK_SETTINGS, **urls}))
