"""Data of the previous version opens with this one, and play goes on.

`fixtures/previous-version.topten` is a backup of a system that ran df403a0: five players answered four quizzes each in ISO
week 2026-47; an action of euler was voided, noether's score adjusted, cheater blocked and ramanujan erased; then the week was
closed. Its accounts are throw-away ones with the password below.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from services.cli.client import GraphqlClient, GraphqlError
from tests.deadline import deadline
from tests.players import Player
from tests.servers import assert_verified, run_topten, running, running_stack

BACKUP = Path(__file__).parents[1] / "fixtures" / "previous-version.topten"
PASSWORD = "a password of the fixture"
STANDINGS = [("hypatia", 315), ("noether", 258), ("euler", 195)]
WEEK = {"kind": "WEEKLY", "period": "2026-47"}


async def log_in(client: GraphqlClient, username: str) -> Player:
    token = await client.login(username, PASSWORD)
    me = await client.execute("{ me { userId } }", {}, token)
    return Player(client, username, me["me"]["userId"], token, "")


def named(entries: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(entry["username"], entry["score"]) for entry in entries]


async def test_data_of_the_previous_version_opens_and_play_goes_on() -> None:
    async with running("mongo") as mongo:
        environ = {"TOPTEN_MONGO_URL": mongo.url}
        restored = await run_topten("restore", str(BACKUP), environ=environ)
        assert restored.returncode == 0, restored
        with running_stack(environ) as stack:
            async with GraphqlClient(stack.endpoints["graphql"]) as client:
                noether = await log_in(client, "noether")
                async with deadline("the boards are rebuilt from the restored data"):
                    while len(await noether.top()) < len(STANDINGS):
                        await asyncio.sleep(0.1)
                assert named(await noether.top()) == STANDINGS
                assert named(await noether.top(WEEK)) == STANDINGS
                for name, reason in (("cheater", "PLAYER_BLOCKED"), ("ramanujan", "CREDENTIALS_INVALID")):
                    with pytest.raises(GraphqlError) as refused:
                        await client.login(name, PASSWORD)
                    assert refused.value.reason == reason
                await assert_verified(stack)

                result = await noether.submit("arithmetic-sprint", [("q1", "c")])
                assert result["pointsAwarded"] == 5
                async with deadline("the answer is counted on top of the restored score"):
                    while ("noether", 263) not in named(await noether.top()):
                        await asyncio.sleep(0.1)
                assert named(await noether.top(WEEK)) == STANDINGS
                await assert_verified(stack)
