"""`topten backup` and `topten restore`: one consistent moment of a playing system, put back over a running one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest
from pymongo import AsyncMongoClient

from services.cli.system.client import GraphqlClient
from tests.players import Player, endpoints, register, shows, stream, until
from tests.servers import RunningStack, run_topten, running_stack


@pytest.fixture(scope="module")
def system() -> Iterator[RunningStack]:
    """A system whose data is replaced; each test ends with what it restored."""
    with running_stack({"TOPTEN_LEADERBOARD_TICK": "100ms"}) as stack:
        yield stack


async def test_a_restored_backup_is_the_system_as_it_was_and_play_goes_on(system: RunningStack, tmp_path: Path) -> None:
    file = tmp_path / "monday.topten"
    async with GraphqlClient(endpoints(system).graphql) as client:
        early = await register(client)
        await early.submit("arithmetic-sprint", [("q5", "true")])
        async with stream(system.http, early.access_token) as events:
            await until(events, shows(early.username, 5))
        # Players play while the backup is written.
        playing = asyncio.create_task(_play(client))
        made = await run_topten("backup", str(file), data=system.data)
        assert made.returncode == 0, made
        assert file.stat().st_mode & 0o777 == 0o600
        await playing

        late = await register(client)
        await late.submit("arithmetic-sprint", [("q5", "true")])
        await early.submit("arithmetic-sprint", [("q5", "true"), ("q1", "b")])
        async with stream(system.http, early.access_token) as events:
            await until(events, shows(late.username, 5))

            refused = await run_topten("restore", str(file), data=system.data)
            assert refused.returncode == 2
            assert "Add --yes" in refused.stderr

            done = await run_topten("restore", str(file), "--yes", data=system.data)
            assert done.returncode == 0, done
            # The screen that was open shows the restored board, without the players who came later.
            await until(events, lambda data: shows(early.username, 5)(data) and late.username not in str(data))
        await early.submit("arithmetic-sprint", [("q5", "true")])
        async with stream(system.http, early.access_token) as events:
            await until(events, shows(early.username, 10))
    sound = await run_topten("verify", "--patience", "5", data=system.data)
    assert sound.returncode == 0, sound.stdout


async def _play(client: GraphqlClient) -> None:
    for _ in range(5):
        player: Player = await register(client)
        await player.submit("arithmetic-sprint", [("q5", "true")])


async def test_an_encrypted_backup_opens_with_its_key_alone(system: RunningStack, tmp_path: Path) -> None:
    file, damaged, keys, other = (tmp_path / name for name in ("backup", "damaged", "keys", "other"))
    key = pyrage.x25519.Identity.generate()
    keys.write_text(f"# public key: {key.to_public()}\n{key}\n")
    other.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(system.endpoints["stores"]["mongo"])
    async with mongo:
        before = await mongo["topten_quiz"]["quizzes"].count_documents({})
        made = await run_topten("backup", str(file), "--recipient", str(key.to_public()), data=system.data)
        assert made.returncode == 0, made
        content = file.read_bytes()
        assert b"arithmetic-sprint" not in content
        damaged.write_bytes(content[: len(content) // 2])

        for wrong, says in (
            ((str(file),), "--identity"),
            ((str(file), "--identity", str(other)), "could not be decrypted"),
            ((str(damaged), "--identity", str(keys)), "or it is damaged"),
            ((str(keys),), "not a complete Topten backup"),
        ):
            refused = await run_topten("restore", *wrong, "--yes", data=system.data)
            assert refused.returncode == 1, refused
            assert says in refused.stderr, refused
        assert await mongo["topten_quiz"]["quizzes"].count_documents({}) == before

        await mongo["topten_quiz"]["quizzes"].delete_many({})
        done = await run_topten("restore", str(file), "--identity", str(keys), "--yes", data=system.data)
        assert done.returncode == 0, done
        assert await mongo["topten_quiz"]["quizzes"].count_documents({}) == before


@pytest.mark.parametrize("recipient", ["age1nonsense", "AGE-SECRET-KEY-1"])
async def test_a_wrong_recipient_writes_no_file(tmp_path: Path, recipient: str) -> None:
    refused = await run_topten("backup", str(tmp_path / "backup"), "--recipient", recipient, data=tmp_path)
    assert refused.returncode == 2
    assert "age public key" in refused.stderr
    assert not list(tmp_path.iterdir())
