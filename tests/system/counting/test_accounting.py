"""`topten verify` checks every accepted action by its event id: none is missing or counted differently."""

from __future__ import annotations

from typing import Any

from pymongo import AsyncMongoClient

from services.cli.system.client import GraphqlClient
from tests.players import endpoints, register, shows, stream, until
from tests.servers import run_topten, running_stack


async def test_verification_reports_an_action_not_counted_as_recorded() -> None:
    with running_stack({"TOPTEN_LEADERBOARD_TICK": "100ms"}) as stack:
        async with GraphqlClient(endpoints(stack).graphql) as client:
            player = await register(client)
            for _ in range(3):
                await player.submit("arithmetic-sprint", [("q5", "true")])
            async with stream(stack.http, player.access_token) as events:
                await until(events, shows(player.username, 15))
        before = await run_topten("verify", "--patience", "5", data=stack.data)
        assert before.returncode == 0, before
        assert "3 recorded events: 3 counted, 0 not yet published, 0 dead letters" in before.stdout

        mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"])
        async with mongo:
            ledger = mongo["topten_score"]["ledger"]
            rows = await ledger.find({"user_id": player.user_id}).sort("revision").to_list()
            await ledger.delete_one({"_id": rows[2]["_id"]})
            await ledger.update_one({"_id": rows[0]["_id"]}, {"$set": {"delta": 6}})
        after = await run_topten("verify", "--patience", "5", data=stack.data)
        assert after.returncode == 1
        assert (
            f"event {rows[2]['_id']}: recorded for player {player.user_id} (accepted actions) but never counted"
            in after.stdout
        )
        assert f"event {rows[0]['_id']}: recorded as +5" in after.stdout
