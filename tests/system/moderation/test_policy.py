"""Moderation under faults: a policy that blocks, unavailable servers, and repairs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from redis.asyncio import Redis

from services.cli.system.client import GraphqlClient, GraphqlError
from tests.deadline import deadline
from tests.players import PASSWORD, Player, endpoints, register, shows, stream, until
from tests.servers import RunningStack, run_topten, running_stack
from tests.system.moderation.test_moderation import BLOCK, UNBLOCK, Moderator, flags, until_on_board

ALL = {"kind": "ALL"}


@pytest.fixture(scope="module")
def strict() -> Iterator[RunningStack]:
    """A system whose policy blocks players who score more than 60 points in a minute."""
    settings = {
        "TOPTEN_LEADERBOARD_TICK": "100ms",
        "TOPTEN_SCORE_RULE_POINTS": "60",
        "TOPTEN_SCORE_AUTO_BLOCK": "score_jump",
        "TOPTEN_SCORE_AUTO_BLOCK_FOR": "1h",
        "TOPTEN_SCORE_HEARTBEAT": "200ms",
        "TOPTEN_SCORE_FOLD_INTERVAL": "200ms",
        "TOPTEN_SCORE_ACK_WAIT": "3s",
    }
    with running_stack(settings) as stack:
        yield stack


async def moderate(stack: RunningStack, client: GraphqlClient) -> Moderator:
    account = stack.endpoints["moderator"]
    return Moderator(client, await client.login(account["username"], account["password"]))


async def verify(stack: RunningStack, *options: str) -> subprocess.CompletedProcess[str]:
    return await run_topten("verify", "--patience", "8", *options, data=stack.data)


async def test_policy_block_can_be_lifted_by_a_moderator(strict: RunningStack) -> None:
    async with GraphqlClient(endpoints(strict).graphql) as client:
        player, moderator = await register(client), await moderate(strict, client)
        with pytest.raises(GraphqlError) as refused:
            await play_on(player)
        assert refused.value.reason == "PLAYER_BLOCKED"
        await until_on_board(player, None, ALL)
        async with deadline():
            while not [f for f in await flags(moderator, "BLOCKED") if f["userId"] == player.user_id]:
                await asyncio.sleep(0.02)
        await moderator.do(UNBLOCK, userId=player.user_id, reason="a test")
        async with stream(strict.http, (await register(client)).access_token) as events:
            await until(events, shows(player.username, 61))
        assert await client.login(player.username, PASSWORD), "the block stays lifted"


async def test_block_survives_crashes_before_it_is_published(strict: RunningStack) -> None:
    """The response means it is recorded. The stream is away, and identity is killed before it can publish."""
    async with GraphqlClient(endpoints(strict).graphql) as client:
        player, moderator = await register(client), await moderate(strict, client)
        await player.submit("arithmetic-sprint", [("q5", "true")])
        await until_on_board(player, 5, ALL)
        nats, identity = strict.pid_of("nats"), strict.pid_of("identity")
        os.kill(nats, signal.SIGSTOP)
        try:
            await moderator.do(BLOCK, userId=player.user_id, reason="a test")
            os.kill(identity, signal.SIGKILL)
        finally:
            os.kill(nats, signal.SIGCONT)
        await until_on_board(player, None, ALL)
        with pytest.raises(GraphqlError) as refused:
            await play_on(player)  # while identity is away, players can go on
        assert refused.value.reason == "PLAYER_BLOCKED"
        assert await login_refused(client, player) == "PLAYER_BLOCKED"


async def login_refused(client: GraphqlClient, player: Player) -> str:
    """Return why a login is refused, once identity is back."""
    async with deadline():
        while True:
            with pytest.raises(GraphqlError) as refused:
                await client.login(player.username, PASSWORD)
            if refused.value.reason != "UNAVAILABLE":
                return refused.value.reason
            await asyncio.sleep(0.05)


async def play_on(player: Player) -> None:
    """Submit actions until one is refused."""
    async with deadline():
        while True:
            await player.submit("arithmetic-sprint", [("q5", "true")])
            await asyncio.sleep(0)


async def test_repair_rebuilds_derived_data_and_reports_the_rest(strict: RunningStack) -> None:
    """An altered board and total, a lost event, and a row without a recorded action."""
    async with GraphqlClient(endpoints(strict).graphql) as client:
        ada, ben, eve = [await register(client) for _ in range(3)]
        for player in (ada, ben, eve):
            await player.submit("arithmetic-sprint", [("q5", "true")])
            await player.submit("arithmetic-sprint", [("q5", "true")])
        for player in (ada, ben, eve):
            await until_on_board(player, 10, ALL)
    before = await verify(strict)
    assert before.returncode == 0, before.stdout
    mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(strict.endpoints["stores"]["mongo"])
    redis: Redis = Redis.from_url(strict.endpoints["stores"]["redis"])
    async with mongo, redis:
        await redis.zadd("leaderboard:all", {ada.user_id: 500})
        await mongo["topten_score"]["players"].update_one({"user_id": ben.user_id}, {"$set": {"total": [7, 0]}})
        ledger = mongo["topten_score"]["ledger"]
        lost = await ledger.find_one_and_delete({"user_id": eve.user_id, "revision": 2})
        assert lost is not None
        stray = await mongo["topten_quiz"]["submissions"].find_one_and_delete({"user_id": ada.user_id})
        assert stray is not None
        repair = await verify(strict, "--repair")
        assert repair.returncode == 1
        assert f"player {ada.user_id} stands at 500" in repair.stdout
        assert f"total {ben.user_id}" in repair.stdout
        assert f"event {stray['_id']}: counted for player {ada.user_id}" in repair.stdout
        assert "republished 1 events" in repair.stdout
        assert await ledger.find_one({"_id": lost["_id"]}) is not None, "counted after all"
        after = await verify(strict)
        assert after.stdout.count("\n") == 3, after.stdout
        assert f"event {stray['_id']}: counted for player {ada.user_id}" in after.stdout
