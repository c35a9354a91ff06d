"""Fixtures for every test: one server of each kind and one whole system for the session, and checks of leftovers."""

from __future__ import annotations

import gc
import os
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest
import pytest_asyncio
import structlog
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests import deadline
from tests.fork_server import FORK_SERVER
from tests.leftovers import end_leftovers, leftovers, mark_children
from tests.outside import OUTSIDE_ISSUERS, PARTNERS
from tests.properties import register_profiles
from tests.servers import STAND_INS, VALKEY, RunningStack, running, running_stack, started_cluster

# Folders from the slowest to the quickest. Quick modules come last, so that all workers end at about the same time.
FOLDERS = ("faults", "observability", "load", "browser", "system", "helm", "contract", "unit")
# Where several modules share a system or the image, which must not be made once in each worker.
SHARED = {
    "tests/browser/": "the system of browser",
    "tests/observability/": "the system of observability",
    "tests/helm/test_image.py": "the image",
    "tests/helm/test_trial.py": "the image",
}
# How coverage measures a process. Of those that tests start, only the session's system gets it: others run the same code
# with half the CPU.
COVERAGE = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
# Fast enough for a short test, slow enough that frames still coalesce.
STACK_SETTINGS = {
    "TOPTEN_LEADERBOARD_TICK": "100ms",
    "TOPTEN_SCORE_CLOSE_INTERVAL": "1s",
    "TOPTEN_SCORE_WEBHOOK_TRUSTED_HOSTS": "127.0.0.1",
    "TOPTEN_AUTH_ISSUERS": OUTSIDE_ISSUERS,
    "TOPTEN_IDENTITY_SERVICE_CLIENTS": PARTNERS,
}

register_profiles()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--servers` runs the suite against servers elsewhere, `--deadline-scale` on a machine that is slower than most."""
    parser.addoption(
        "--servers",
        default="",
        help="mongo=URL,redis=URL,nats=URL instead of embedded ones; redis=cluster or valkey: each embedded Redis is one",
    )
    parser.addoption("--deadline-scale", type=float, default=1.0, help="stretch every deadline by this factor")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Stretch the deadline of facts, and with it that of a whole test; keep coverage from the children of tests."""
    mark_children()
    if hasattr(config, "workerinput") or not config.getoption("numprocesses"):
        for name in COVERAGE:
            del os.environ[name]
    scale = config.getoption("--deadline-scale")
    deadline.set_scale(scale)
    if config.getoption("timeout") is None:
        config.option.timeout = float(config.getini("timeout")) * scale


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run slow modules first where several workers share the tests."""
    if not hasattr(config, "workerinput"):
        return
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    order = {folder: place for place, folder in enumerate(FOLDERS)}
    tests = Path(__file__).parent
    items.sort(key=lambda item: (item.path not in slow, order[item.path.relative_to(tests).parts[0]], item.path))


class ModuleScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist is published without types
    """Gives a worker one module at a time, or all modules that share something.

    `--dist loadgroup` of xdist 3.8 appends the group to the ID of a test, where pytest 9.2 ignores it: it groups nothing,
    and what a module shares starts in every worker.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return next((shared for path, shared in SHARED.items() if module.startswith(path)), module)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ModuleScheduling:
    """Schedule by module, whatever `--dist` says."""
    return ModuleScheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def no_process_left() -> Iterator[None]:
    """Fail a run that leaves a process behind, with the name of the test that started it, and kill the process."""
    yield
    FORK_SERVER.close()
    end_leftovers(leftovers())


@pytest.fixture(scope="module", autouse=True)
def _module_closes_resources() -> Iterator[None]:
    """Do both checks at the end of a module: on objects that were created in it, and on processes of its tests' bodies."""
    gc.freeze()
    yield
    gc.collect()
    end_leftovers(each for each in leftovers() if each.test.endswith("(call)"))


@pytest.fixture(autouse=True)
def _test_closes_resources() -> Iterator[None]:
    """Collect garbage after each test: what it left open warns now, and pytest blames this test, not a later one."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def _logs_stay_configured() -> Iterator[None]:
    """Undo what a test changes of the logs' configuration: it would write to a captured stream that is closed by then."""
    before = structlog.get_config() if structlog.is_configured() else None
    yield
    structlog.reset_defaults() if before is None else structlog.configure(**before)


@pytest.fixture(scope="session", autouse=True)
def external_servers(no_process_left: None, pytestconfig: pytest.Config) -> Iterator[dict[str, str]]:
    """The servers named by --servers."""
    # The URL of a cluster contains commas between its nodes.
    given = re.split(r",(?=(?:mongo|redis|nats)=)", pytestconfig.getoption("--servers"))
    urls = {name: url for name, _, url in (pair.partition("=") for pair in given if pair)}
    for name in [name for name, url in urls.items() if "://" not in url]:
        STAND_INS[name] = urls.pop(name)
    with tempfile.TemporaryDirectory(prefix="topten-path-") as folder:
        if STAND_INS.get("redis") == "valkey":
            # A program on PATH is preferred to the wheel's, so this is every Redis, also that of `topten up`.
            (Path(folder) / "redis-server").symlink_to(VALKEY)
            os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
        yield urls


async def _url(name: str, external_servers: dict[str, str]) -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        if name in external_servers:
            yield external_servers[name]
        else:
            server = await stack.enter_async_context(running(name))
            yield server.url


@pytest_asyncio.fixture(scope="session")
async def mongo_url(external_servers: dict[str, str]) -> AsyncIterator[str]:
    """A MongoDB replica set."""
    async for url in _url("mongo", external_servers):
        yield url


@pytest_asyncio.fixture(scope="session")
async def redis_url(external_servers: dict[str, str]) -> AsyncIterator[str]:
    """A Redis server."""
    async for url in _url("redis", external_servers):
        yield url


@pytest_asyncio.fixture(scope="session")
async def nats_url(external_servers: dict[str, str]) -> AsyncIterator[str]:
    """A NATS server with JetStream."""
    async for url in _url("nats", external_servers):
        yield url


@pytest.fixture(scope="session")
def stack(external_servers: dict[str, str]) -> Iterator[RunningStack]:
    """The whole system, started by `topten up`. A test that disturbs it starts its own with `running_stack`."""
    urls = {f"TOPTEN_{name.upper()}_URL": url for name, url in external_servers.items()}
    with ExitStack() as others:
        if STAND_INS.get("redis") == "cluster":
            urls["TOPTEN_REDIS_URL"] = others.enter_context(started_cluster()).url
        yield others.enter_context(running_stack({**STACK_SETTINGS, **COVERAGE, **urls}))
