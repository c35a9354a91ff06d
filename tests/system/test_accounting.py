"""`topten verify` follows every accepted action by its event id: none may be missing, and none counted otherwise."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

from pymongo import AsyncMongoClient

from services.local.client import GraphqlClient
from tests.players import endpoints, register, shows, stream, until
from tests.servers import RunningStack, running_stack, topten


async def verify(stack: RunningStack) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        topten("verify", "--patience", "5", "--data", str(stack.data)),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


async def test_an_accepted_action_that_is_counted_nowhere_or_otherwise_is_named() -> None:
    with running_stack({"TOPTEN_LEADERBOARD_TICK": "100ms"}) as stack:
        async with GraphqlClient(endpoints(stack).graphql) as client:
            player = await register(client)
            for _ in range(3):
                await player.submit("arithmetic-sprint", [("q5", "true")])
            async with stream(stack.http, player.access_token) as events:
                await until(events, shows(player.username, 15))
        sound = await verify(stack)
        assert sound.returncode == 0, sound
        assert "3 events on record: 3 counted, 0 wait to be published, 0 dead letters" in sound.stdout

        mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"])
        async with mongo:
            ledger = mongo["topten_score"]["ledger"]
            rows = await ledger.find({"user_id": player.user_id}).sort("revision").to_list()
            await ledger.delete_one({"_id": rows[2]["_id"]})
            await ledger.update_one({"_id": rows[0]["_id"]}, {"$set": {"delta": 6}})
        wrong = await verify(stack)
        assert wrong.returncode == 1
        assert (
            f"event {rows[2]['_id']}: on record for player {player.user_id} (accepted actions) and counted nowhere"
            in wrong.stdout
        )
        assert f"event {rows[0]['_id']}: recorded as +5" in wrong.stdout
