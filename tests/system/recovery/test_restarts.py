"""Each process is killed in turn while players play: no points are lost or doubled, and the board is right afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid

import aiohttp
import pytest
from topten.quiz.v1 import quiz_pb2

from services.cli.system.client import GraphqlClient, GraphqlError
from tests.deadline import deadline
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import Player, endpoints, register, stream, until
from tests.servers import assert_verified, running_stack, unique

PLAYERS = 5
RIGHT = [("q1", "a"), ("q2", "a")]
POINTS = 20


async def insist(player: Player, quiz_id: str, action_id: str) -> None:
    """Send one action until it is answered, as a client that loses its connection does."""
    async with deadline("the action is answered"):
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
async def test_killing_every_process_in_turn_loses_and_doubles_no_points() -> None:
    """Takes half a minute: five processes and three stores each die and are restarted once.

    The ack wait is short, so that the events of a killed worker are redelivered within the test.
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
                async with deadline(f"{name} is back, and every player goes on"):
                    while stack.pid_of(name) == pid or sum(answered.values()) < before + 2 * PLAYERS:
                        await asyncio.sleep(0.05)
            over.set()
            await asyncio.gather(*tasks)
            expected = {name: count * POINTS for name, count in answered.items()}
            # On the all-time board every event adds up; the quiz board would be right again after the next event.
            async with stream(stack.http, players[0].access_token) as events:
                last = await until(
                    events, lambda data: {e["username"]: e["score"] for e in data["leaderboard"]} == expected
                )
        assert [entry["rank"] for entry in last.data["leaderboard"]] == list(range(1, PLAYERS + 1))
        await assert_verified(stack)
