"""Data of previous versions opens with this one, and play goes on.

`fixtures/previous-version.topten` is a backup of a system that ran df403a0: five players answered four quizzes each in ISO
week 2026-47; an action of euler was voided, noether's score adjusted, cheater blocked and ramanujan erased; then the week was
closed.

`fixtures/newest-collections.topten` is one of a system that ran 80d4c60, with what came later: an action type, defined boards
of which one was archived and sealed, a group, a board token, a webhook, a draft, a service client, a room with a guest, a
decision on extra time, and an attempt with a saved answer whose time was not up. All accounts are throw-away ones with the
password below.
"""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest

from services.cli.system.client import GraphqlClient, GraphqlError
from tests.deadline import deadline
from tests.players import Player
from tests.servers import RunningStack, assert_verified, run_topten, running, running_stack

BACKUP = Path(__file__).parents[2] / "fixtures" / "previous-version.topten"
PASSWORD = "a password of the fixture"
NEWEST = BACKUP.with_name("newest-collections.topten")
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

                restored = await run_topten("restore", str(NEWEST), "--yes", data=stack.data)
                assert restored.returncode == 0, restored
                await opens_with_the_newest_collections(stack, client)
                await assert_verified(stack)


async def opens_with_the_newest_collections(stack: RunningStack, client: GraphqlClient) -> None:
    """Everything in them reads as it was, and the attempt is handed in, as its time is up by now."""
    curator, noether = await log_in(client, "curator"), await log_in(client, "noether")
    expected = [("hypatia", 102), ("noether", 50)]
    async with deadline("the attempt is handed in and counted, and the boards are rebuilt"):
        while named(await noether.top()) != expected:
            await asyncio.sleep(0.1)

    async def ask(player: Player, document: str, **variables: Any) -> Any:
        (value,) = (await client.execute(document, variables, player.access_token)).values()
        return value

    states = {each["name"]: each["state"] for each in await ask(curator, "{ definedBoards { name state } }")}
    assert states == {"fewest": "READY", "hidden": "READY", "over": "ARCHIVED"}
    fewest, over = ({"kind": "CUSTOM", "name": name} for name in ("fewest", "over"))
    assert named(await noether.top(fewest)) == [("hypatia", 12), ("noether", 40)]
    assert named(await noether.top(over)) == [("hypatia", 102), ("noether", 40)]
    with pytest.raises(GraphqlError) as refused:
        await noether.top({"kind": "CUSTOM", "name": "hidden"})
    assert refused.value.reason == "BOARD_NOT_FOUND"
    reseal = 'mutation ($board: BoardInput!) { resealPeriod(input: {board: $board, reason: "again"}) { board } }'
    assert await ask(curator, reseal, board=over) == []
    (group,) = await ask(noether, "{ myGroups { groupId title memberCount } }")
    assert (group["title"], group["memberCount"]) == ("Friends", 2)
    (token,) = await ask(curator, "{ boardTokens { board } }")
    assert token == {"board": "all"}
    (webhook,) = await ask(curator, "{ webhooks { name url kinds } }")
    assert webhook == {"name": "hook", "url": "https://hooks.invalid/topten", "kinds": ["PLAYER_FLAGGED"]}
    draft = await ask(curator, '{ quizDraft(id: "drafted") { quiz { title state revision } } }')
    assert draft == {"quiz": {"title": "Drafted", "state": "DRAFT", "revision": 1}}
    hypatia = (await log_in(client, "hypatia")).user_id
    (decision,) = await ask(curator, "query ($id: ID!) { playerExtraTimes(userId: $id) { extraTime } }", id=hypatia)
    assert decision == {"extraTime": "DOUBLE"}
    assert "reader" in (await run_topten("client", "list", data=stack.data)).stdout
    walked = await noether.act("walk", str(uuid.uuid4()), quantity=3)
    assert walked["pointsAwarded"] == 6
    async with deadline("the action is counted on the restored boards"):
        while named(await noether.top(fewest)) != [("noether", 6), ("hypatia", 12)]:
            await asyncio.sleep(0.1)
    assert named(await noether.top(over)) == [("hypatia", 102), ("noether", 40)]
