"""Backup and restore against a real MongoDB: interruption at every command, other prefixes, accounts with few rights."""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pyrage
import pytest
from pymongo import AsyncMongoClient
from pymongo.monitoring import CommandListener, CommandStartedEvent
from yarl import URL

from services.cli.backup.archive import ArchiveWriter, BackupError, verify
from services.cli.backup.restore import restore
from services.cli.backup.snapshot import DATABASES, Client, write_snapshot
from services.runtime.stores.index_keeper import STAGED
from tests.bench.restore import measure as drill_of
from tests.servers import RunningServer, running, topten, unique

GUIDE = Path(__file__).parents[3] / "docs" / "operator" / "backup.md"
LARGE = 15 * 1024 * 1024
State = dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]]


class KilledError(BaseException):
    """Ends a restore as a kill would: nothing handles it."""


class Killer(CommandListener):
    """Raises KilledError instead of sending the n-th command."""

    def __init__(self) -> None:
        self.remaining = 0
        self.commands: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.remaining -= 1
        if self.remaining == 0:
            raise KilledError(event.command_name)
        self.commands.append(event.command_name)

    def succeeded(self, event: Any) -> None: ...

    def failed(self, event: Any) -> None: ...


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[RunningServer]:
    async with running("mongo") as mongo:
        yield mongo


@pytest.fixture
async def client(server: RunningServer) -> AsyncIterator[Client]:
    client: Client = AsyncMongoClient(server.url, tz_aware=True, w="majority", readConcernLevel="majority")
    async with client:
        yield client


async def fill(client: Client, prefix: str, text: str) -> None:
    """Write three collections with indexes and the coordination document of boards, all marked with `text`."""
    for database, name in (("score", "ledger"), ("quiz", "quizzes"), ("score", "meta")):
        collection = client[f"{prefix}_{database}"][name]
        await collection.insert_many([{"_id": number, "text": text} for number in range(3)])
        await collection.create_index({"text": 1, "_id": 1}, unique=True)
    await client[f"{prefix}_score"]["meta"].insert_one({"_id": "boards", "generation": len(text), "completed": 1})


async def state(client: Client, prefix: str) -> State:
    """Documents and indexes of every collection but the coordination documents that a restore changes."""
    result: State = {}
    for database in DATABASES:
        for name in await client[f"{prefix}_{database}"].list_collection_names():
            collection = client[f"{prefix}_{database}"][name]
            documents = await collection.find({"_id": {"$ne": "boards"}}).sort("_id").to_list()
            result[f"{database}.{name}"] = documents, [dict(one) async for one in await collection.list_indexes()]
    return result


async def drop(client: Client, prefix: str) -> None:
    for database in DATABASES:
        await client.drop_database(f"{prefix}_{database}")


async def backed_up(client: Client, prefix: str) -> io.BytesIO:
    file = io.BytesIO()
    await write_snapshot(client, prefix, ArchiveWriter(file), lambda *_: None)
    return file


async def put_back(client: Client, prefix: str, file: io.BytesIO) -> None:
    file.seek(0)
    archive = verify(file)
    file.seek(0)
    await restore(client, prefix, file, archive, lambda *_: None)


def assert_old_or_restored(live: State, old: State, backup: State) -> None:
    for name, content in live.items():
        if not name.endswith(STAGED):
            assert content in (old.get(name), backup.get(name)), f"{name} is neither the old nor the restored one"


async def test_a_restore_interrupted_at_any_command_changes_nothing_or_completes_when_repeated(
    server: RunningServer, client: Client
) -> None:
    prefix = unique("restore")
    await fill(client, prefix, "from the backup")
    file, backup = await backed_up(client, prefix), await state(client, prefix)
    await drop(client, prefix)
    await fill(client, prefix, "live")
    await client[f"{prefix}_identity"]["newer"].insert_one({"_id": 1})
    old = await state(client, prefix)
    killer = Killer()
    killed: Client = AsyncMongoClient(server.url, w="majority", event_listeners=[killer])
    async with killed:
        for number in count(1, 2):  # every second command: each kind comes several times
            killer.commands.clear()
            killer.remaining = number
            try:
                await put_back(killed, prefix, file)
                killer.remaining = 0
                break
            except KilledError:
                live = await state(client, prefix)
            if "renameCollection" in killer.commands:
                assert_old_or_restored(live, old, backup)
                await put_back(client, prefix, file)
                assert await state(client, prefix) == backup
                # As before, for the next command.
                await drop(client, prefix)
                await fill(client, prefix, "live")
                await client[f"{prefix}_identity"]["newer"].insert_one({"_id": 1})
            else:
                assert {name: content for name, content in live.items() if not name.endswith(STAGED)} == old
    assert {"create", "insert", "createIndexes", "renameCollection", "drop"} <= set(killer.commands)
    assert await state(client, prefix) == backup


async def test_a_generation_of_boards_never_comes_twice(client: Client) -> None:
    prefix = unique("restore")
    await fill(client, prefix, "old")
    file = await backed_up(client, prefix)
    boards = {"_id": "boards"}
    meta = client[f"{prefix}_score"]["meta"]
    await meta.update_one(boards, {"$set": {"generation": 1_000}})
    await put_back(client, prefix, file)
    found = await meta.find_one(boards)
    assert found is not None
    assert found["generation"] >= 1_000


async def test_a_backup_of_one_prefix_is_restored_under_another(client: Client) -> None:
    source, target = unique("source"), unique("target")
    await fill(client, source, "text")
    before = await state(client, source)
    await put_back(client, target, await backed_up(client, source))
    assert await state(client, target) == await state(client, source) == before


async def test_a_backup_of_a_prefix_without_data_is_refused(client: Client) -> None:
    with pytest.raises(BackupError, match="TOPTEN_MONGO_DATABASE"):
        await backed_up(client, unique("nothing"))


async def test_an_incomplete_backup_leaves_the_live_data(client: Client) -> None:
    prefix = unique("restore")
    await fill(client, prefix, "text")
    file = await backed_up(client, prefix)
    before = await state(client, prefix)
    archive = verify(io.BytesIO(file.getvalue()))
    with suppress(BackupError):
        await restore(client, prefix, io.BytesIO(file.getvalue()[:-20]), archive, lambda *_: None)
        raise AssertionError("the incomplete file was restored")
    assert {name: found for name, found in (await state(client, prefix)).items() if STAGED not in name} == before


async def command(
    server: RunningServer, prefix: str, *arguments: str, **environ: str
) -> subprocess.CompletedProcess[bytes]:
    given = {"TOPTEN_MONGO_URL": server.url, "TOPTEN_MONGO_DATABASE": prefix, **environ}
    return await asyncio.to_thread(
        subprocess.run,
        topten(*arguments),
        env=os.environ | given,
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


async def test_large_documents_come_back_however_short_the_timeout_is(
    server: RunningServer, client: Client, tmp_path: Path
) -> None:
    prefix, file = unique("large"), str(tmp_path / "backup")
    await client[f"{prefix}_quiz"]["quizzes"].insert_many([{"_id": n, "text": os.urandom(LARGE)} for n in range(3)])
    before = await state(client, prefix)
    for arguments in (("backup", file), ("restore", file, "--yes")):
        done = await command(server, prefix, *arguments, TOPTEN_MONGO_TIMEOUT="200ms")
        assert done.returncode == 0, done.stderr
    assert await state(client, prefix) == before


async def test_standard_output_has_the_backup_and_nothing_else(server: RunningServer, client: Client) -> None:
    prefix = unique("output")
    await fill(client, prefix, "text")
    done = await command(server, prefix, "backup", "-")
    assert (done.returncode, done.stderr) == (0, b"Backed up 10 documents of 3 collections.\n")
    assert sum(verify(io.BytesIO(done.stdout)).counts.values()) == 10


async def test_live_data_is_replaced_only_if_confirmed(server: RunningServer, client: Client, tmp_path: Path) -> None:
    prefix, file = unique("confirm"), str(tmp_path / "backup")
    await fill(client, prefix, "text")
    assert (await command(server, prefix, "backup", file)).returncode == 0
    await client[f"{prefix}_score"]["ledger"].insert_one({"_id": 77})
    before = await state(client, prefix)
    refused = await command(server, prefix, "restore", file)
    assert refused.returncode == 2
    assert b"replaces 0 accounts and 4 ledger rows with 0 accounts and 3 ledger rows" in refused.stderr
    assert b"Add --yes" in refused.stderr
    assert await state(client, prefix) == before


async def test_an_account_with_few_rights_can_back_up_and_restore(
    server: RunningServer, client: Client, tmp_path: Path
) -> None:
    """A managed MongoDB lets nobody set parameters of the server."""
    prefix, file = unique("managed"), str(tmp_path / "backup")
    await fill(client, prefix, "text")
    before = await state(client, prefix)
    databases = [prefix, *(f"{prefix}_{database}" for database in DATABASES)]
    roles = [{"role": "readWrite", "db": database} for database in databases]
    await client.admin.command({"createUser": prefix, "pwd": "managed", "roles": roles})
    url = str(URL(server.url).with_user(prefix).with_password("managed"))
    for arguments in (("backup", file), ("restore", file, "--yes")):
        done = await command(server, prefix, *arguments, TOPTEN_MONGO_URL=url)
        assert done.returncode == 0, done.stderr
    assert await state(client, prefix) == before


async def test_the_drill_ends_with_equal_sums_of_boards_and_ledger() -> None:
    """A small run of `make bench ARGS=restore`, which compares the sums itself."""
    drill = await drill_of(500)
    assert drill.documents == 4 * 500 + 1


async def test_the_commands_of_the_guide_work(server: RunningServer, client: Client, tmp_path: Path) -> None:
    prefix = unique("guide")
    await fill(client, prefix, "text")
    key = pyrage.x25519.Identity.generate()
    tools = tmp_path / "tools"
    tools.mkdir()
    # age is a program of its own; its key file is what matters here.
    (tools / "age-keygen").write_text(f'#!/bin/sh\nprintf "# public key: {key.to_public()}\\n{key}\\n" > "$2"\n')
    (tools / "age-keygen").chmod(0o755)
    lines = [
        line
        for block in re.findall(r"```sh(?: run)?\n(.*?)```", GUIDE.read_text(), re.DOTALL)
        for line in block.splitlines()
    ]
    ran = [
        line.replace("age1…", str(key.to_public()))
        for line in lines
        if line.startswith(("topten ba", "topten re", "age"))
    ]
    assert len(ran) >= 6
    environ = os.environ | {
        "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TOPTEN_MONGO_URL": server.url,
        "TOPTEN_MONGO_DATABASE": prefix,
    }
    before = await state(client, prefix)
    for line in ran:
        confirmed = f"{line.partition('#')[0]} --yes" if line.startswith("topten restore") else line
        done = await asyncio.to_thread(
            subprocess.run, ["sh", "-c", confirmed], cwd=tmp_path, env=environ, capture_output=True, check=False
        )
        assert done.returncode == 0, (line, done)
    assert await state(client, prefix) == before
