"""Moderation when things go wrong: a policy that blocks, servers that are away, and what a repair mends."""

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

from services.local.client import GraphqlClient, GraphqlError
from tests.players import PASSWORD, Player, endpoints, register, shows, stream, until
from tests.servers import RunningStack, running_stack, topten
from tests.system.test_moderation import BLOCK, UNBLOCK, Moderator, flags, on_board

ALL = {"kind": "ALL"}


@pytest.fixture(scope="module")
def strict() -> Iterator[RunningStack]:
    """A system whose policy blocks who scores more than 60 points in a minute."""
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
    return await asyncio.to_thread(
        subprocess.run,
        topten("verify", "--patience", "8", *options, "--data", str(stack.data)),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


async def test_the_policy_blocks_for_a_time_and_a_moderator_takes_it_back(strict: RunningStack) -> None:
    async with GraphqlClient(endpoints(strict).graphql) as client:
        player, moderator = await register(client), await moderate(strict, client)
        with pytest.raises(GraphqlError) as refused:
            await play_on(player)
        assert refused.value.reason == "PLAYER_BLOCKED"
        await on_board(player, None, ALL)
        async with asyncio.timeout(20):
            while not [f for f in await flags(moderator, "BLOCKED") if f["userId"] == player.user_id]:
                await asyncio.sleep(0.02)
        await moderator.do(UNBLOCK, userId=player.user_id, reason="it was a test")
        async with stream(strict.http, (await register(client)).access_token) as events:
            await until(events, shows(player.username, 61))
        assert await client.login(player.username, PASSWORD), "and it stays taken back"


async def test_a_block_survives_that_everything_dies_before_it_is_told(strict: RunningStack) -> None:
    """It is on record with the answer; the stream is away, and identity dies before it could tell."""
    async with GraphqlClient(endpoints(strict).graphql) as client:
        player, moderator = await register(client), await moderate(strict, client)
        await player.submit("arithmetic-sprint", [("q5", "true")])
        await on_board(player, 5, ALL)
        nats, identity = strict.pid_of("nats"), strict.pid_of("identity")
        os.kill(nats, signal.SIGSTOP)
        try:
            await moderator.do(BLOCK, userId=player.user_id, reason="a test")
            os.kill(identity, signal.SIGKILL)
        finally:
            os.kill(nats, signal.SIGCONT)
        await on_board(player, None, ALL)
        with pytest.raises(GraphqlError) as refused:
            await play_on(player)  # as long as identity does not answer, nobody is kept from playing
        assert refused.value.reason == "PLAYER_BLOCKED"
        assert await login_refused(client, player) == "PLAYER_BLOCKED"


async def login_refused(client: GraphqlClient, player: Player) -> str:
    """Why a login is refused, once identity is there again."""
    async with asyncio.timeout(30):
        while True:
            with pytest.raises(GraphqlError) as refused:
                await client.login(player.username, PASSWORD)
            if refused.value.reason != "UNAVAILABLE":
                return refused.value.reason
            await asyncio.sleep(0.05)


async def play_on(player: Player) -> None:
    """Answer until that is refused."""
    async with asyncio.timeout(30):
        while True:
            await player.submit("arithmetic-sprint", [("q5", "true")])
            await asyncio.sleep(0)


async def test_a_repair_mends_what_is_derived_and_names_what_it_can_not(strict: RunningStack) -> None:
    """A board and a total that were altered, an event that was lost, and a row that nobody recorded."""
    async with GraphqlClient(endpoints(strict).graphql) as client:
        ada, ben, eve = [await register(client) for _ in range(3)]
        for player in (ada, ben, eve):
            await player.submit("arithmetic-sprint", [("q5", "true")])
            await player.submit("arithmetic-sprint", [("q5", "true")])
        for player in (ada, ben, eve):
            await on_board(player, 10, ALL)
    sound = await verify(strict)
    assert sound.returncode == 0, sound.stdout
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
        found = await verify(strict, "--repair")
        assert found.returncode == 1
        assert f"player {ada.user_id} stands at 500" in found.stdout
        assert f"total {ben.user_id}" in found.stdout
        assert f"event {stray['_id']}: counted for player {ada.user_id}" in found.stdout
        assert "published 1 events once more" in found.stdout
        assert await ledger.find_one({"_id": lost["_id"]}) is not None, "counted after all"
        again = await verify(strict)
        assert again.stdout.count("\n") == 3, again.stdout
        assert f"event {stray['_id']}: counted for player {ada.user_id}" in again.stdout
