"""Each process killed in turn while players answer: nothing is lost, nothing doubled, and the board is right after it."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid

import aiohttp
import pytest
from topten.quiz.v1 import quiz_pb2

from services.local.client import GraphqlClient, GraphqlError
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import Player, endpoints, register, stream, until
from tests.servers import RunningStack, running_stack, topten, unique

PLAYERS = 5
RIGHT = [("q1", "a"), ("q2", "a")]
POINTS = 20


async def insist(player: Player, quiz_id: str, action_id: str) -> None:
    """Send one action until it is answered, as a client that loses its connection does."""
    async with asyncio.timeout(60):
        while True:
            try:
                await player.submit(quiz_id, RIGHT, action_id)
            except GraphqlError as error:
                assert error.reason == "UNAVAILABLE", (error.reason, str(error))
            except (aiohttp.ClientError, TimeoutError):
                pass
            else:
                return
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_no_point_is_lost_or_doubled_while_every_process_is_killed_in_turn() -> None:
    """Takes about half a minute: five processes and three stores each die and come back once.

    The ack wait is short, so that what a killed worker held is delivered again within the test.
    """
    with running_stack({"TOPTEN_LEADERBOARD_TICK": "100ms", "TOPTEN_SCORE_ACK_WAIT": "3s"}) as stack:
        quiz_id = unique("restart-")
        await import_quiz(endpoints(stack), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM))
        async with GraphqlClient(endpoints(stack).graphql) as client:
            players = [await register(client) for _ in range(PLAYERS)]
            answered = dict.fromkeys((player.username for player in players), 0)
            over = asyncio.Event()

            async def play(player: Player) -> None:
                while not over.is_set():
                    await insist(player, quiz_id, str(uuid.uuid4()))
                    answered[player.username] += 1

            tasks = [asyncio.create_task(play(player)) for player in players]
            for name in ("edge", "quiz", "score", "leaderboard", "identity", "redis", "nats", "mongo"):
                before, pid = sum(answered.values()), stack.pid_of(name)
                os.kill(pid, signal.SIGKILL)
                async with asyncio.timeout(30):
                    while stack.pid_of(name) == pid or sum(answered.values()) < before + 2 * PLAYERS:
                        await asyncio.sleep(0.05)
            over.set()
            await asyncio.gather(*tasks)
            expected = {name: count * POINTS for name, count in answered.items()}
            # The board of all time adds every event up; that of the quiz would be right again with the next one.
            async with stream(stack.http, players[0].access_token) as events:
                last = await until(
                    events,
                    lambda data: {e["username"]: e["score"] for e in data["leaderboard"]} == expected,
                    seconds=40,
                )
        assert [entry["rank"] for entry in last.data["leaderboard"]] == list(range(1, PLAYERS + 1))
        await verified(stack)


async def verified(stack: RunningStack) -> None:
    """`topten verify` finds nothing."""
    verify = await asyncio.create_subprocess_exec(
        *topten("verify", "--data", str(stack.data)), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await verify.communicate()
    assert verify.returncode == 0, output.decode()
