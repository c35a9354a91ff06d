"""Back up and restore the MongoDB of a system: the files, the keys, the confirmation, and the progress bar."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pymongo
import typer
from pymongo.errors import ConnectionFailure, PyMongoError
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from services.cli.backup.archive import Archive, ArchiveWriter, BackupError, verify
from services.cli.backup.encryption import decrypted, encrypting, read_identities, read_recipients
from services.cli.backup.files import STANDARD_STREAM, check_pattern, name_at, remove_old, replacing
from services.cli.backup.restore import live_documents
from services.cli.backup.restore import restore as restore_archive
from services.cli.backup.snapshot import NO_TIMEOUT, Progress, write_snapshot
from services.cli.terminal import EXIT_FINDING, EXIT_USAGE, err, fail, load_endpoints, say, warn
from services.runtime.config.loading import ConfigError, load, section
from services.runtime.config.settings import MongoConfig, ProcessConfig
from services.runtime.stores.mongo import Mongo, open_mongo
from services.runtime.telemetry.logging import configure


@dataclass(frozen=True, kw_only=True)
class BackupConfig:
    """The settings that both commands read from the environment."""

    mongo: MongoConfig = section(MongoConfig)


async def back_up(pattern: Path, recipients: list[str], keep: int | None, data: Path) -> None:
    """Write a backup to the file that `pattern` names now, then remove all but the newest `keep`.

    Now is MongoDB's time: by a wrong clock of this machine, the new file could be the oldest.
    """
    if pattern == STANDARD_STREAM and sys.stdout.isatty():
        fail("A backup is not written to a terminal. Redirect standard output, or name a file.", EXIT_USAGE)
    try:
        check_pattern(pattern, keep)
        keys = read_recipients(recipients)
    except BackupError as error:
        fail(str(error), EXIT_USAGE)
    with _failures("MongoDB could not be read", "No backup was written; run it again when MongoDB is available."):
        async with _mongo(data) as (mongo, prefix):
            await mongo.ping()
            file = name_at(pattern, mongo.clock.now())
            with replacing(file) as target, _bar() as report, encrypting(target, keys) as sink:
                counts = await write_snapshot(mongo.client, prefix, ArchiveWriter(sink), report)
        warn(f"Backed up {sum(counts.values())} documents of {len(counts)} collections.")
        for path in remove_old(pattern, keep, written=file) if keep is not None else ():
            warn(f"Removed {path}.")


async def restore(file: Path, identity: Path | None, data: Path, *, yes: bool) -> None:
    """Replace everything with the backup in `file`, once it is checked and confirmed."""
    try:
        keys = [] if identity is None else read_identities(identity)
    except BackupError as error:
        fail(str(error), EXIT_USAGE)
    with _failures("MongoDB refused the restore", "Run it again when MongoDB is available."):
        with file.open("rb") as source, decrypted(source, keys) as content:
            archive = verify(content)
        async with _mongo(data) as (mongo, prefix):
            live = await live_documents(mongo.client, prefix)
            if live and not yes:
                _ask(archive, live)
            with file.open("rb") as source, decrypted(source, keys) as content, _bar() as report:
                await restore_archive(mongo.client, prefix, content, archive, report)
    say(f"Restored {sum(archive.counts.values())} documents as of {_moment(archive)}.")
    say("Check it with `topten verify`.")


def _ask(archive: Archive, live: dict[str, int]) -> None:
    """Ask before anything is replaced; without a terminal the answer is no."""
    warn(f"This replaces {_contents(live)} with {_contents(archive.counts)} of {_moment(archive)}.")
    if not sys.stdin.isatty():
        fail("The system has data. Add --yes to replace it.", EXIT_USAGE)
    if not typer.confirm("Replace everything?", err=True):
        fail("Nothing was changed.", EXIT_USAGE)


def _contents(counts: dict[str, int]) -> str:
    return f"{counts.get('identity.users', 0)} accounts and {counts.get('score.ledger', 0)} ledger rows"


def _moment(archive: Archive) -> str:
    return f"{archive.header.started_at:%Y-%m-%d %H:%M:%S} UTC"


@contextmanager
def _failures(store_failed: str, advice: str) -> Iterator[None]:
    """Exit with one line if the block raises BackupError or an error of MongoDB."""
    try:
        yield
    except BackupError as error:
        fail(str(error), EXIT_FINDING)
    except ConnectionFailure:
        fail(f"{store_failed}: it does not respond. {advice}", EXIT_FINDING)
    except PyMongoError as error:
        fail(f"{store_failed} ({type(error).__name__}). {advice}", EXIT_FINDING)


@asynccontextmanager
async def _mongo(data: Path) -> AsyncIterator[tuple[Mongo, str]]:
    """Yield a client of the system's MongoDB, without a time limit, and the prefix of its databases."""
    environ = {name: value for name, value in os.environ.items() if name.startswith("TOPTEN_MONGO_")}
    if "TOPTEN_MONGO_URL" not in environ and "TOPTEN_MONGO_URL_FILE" not in environ:
        environ["TOPTEN_MONGO_URL"] = load_endpoints(data).document["stores"]["mongo"]
    try:
        config = load(BackupConfig, environ).mongo
    except ConfigError as error:
        fail(str(error), EXIT_USAGE)
    configure(ProcessConfig(log_level="warning"), "backup")
    async with open_mongo(config, "backup", wait=False) as mongo:
        with pymongo.timeout(NO_TIMEOUT):
            yield mongo, config.database


@contextmanager
def _bar() -> Iterator[Progress]:
    """Yield what shows progress: collection, documents done, documents in all. On stderr, if that is a terminal."""
    columns = (TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda name, done, total: bar.update(task, description=name, completed=done, total=total)
