"""Simulated players play by the rules of everybody else, and the board moves."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal

from services.local.client import GraphqlClient
from services.local.commands.quiz import SAMPLES
from services.local.demo import NAMES, attempt
from services.local.stack import wait_for_edge
from tests.players import Player, endpoints, register
from tests.servers import running_stack


async def test_simulated_players_move_the_board_and_go_on_after_a_restart() -> None:
    with running_stack(None, "--demo", "20") as stack:
        async with GraphqlClient(endpoints(stack).graphql) as client:
            watcher = await register(client)
            while not await scores_of_players(watcher):
                await asyncio.sleep(0.05)
        pid = stack.pid_of("edge")
        os.kill(pid, signal.SIGKILL)
        while stack.pid_of("edge") == pid:
            await asyncio.sleep(0.02)
        await wait_for_edge(stack.http)
        async with GraphqlClient(endpoints(stack).graphql) as client:
            watcher = await register(client)
            before = await scores_of_players(watcher)
            while await scores_of_players(watcher) == before:
                await asyncio.sleep(0.05)


async def scores_of_players(watcher: Player) -> dict[str, int]:
    return {entry["username"]: entry["score"] for entry in await watcher.top() if entry["username"] in NAMES}


def test_an_attempt_answers_every_question_with_one_of_its_options() -> None:
    dice = random.Random(7)
    for path in SAMPLES.glob("*.json"):
        quiz = json.loads(path.read_bytes())
        action = attempt(quiz, 0.5, dice)
        assert action["quizId"] == quiz["id"]
        assert [answer["questionId"] for answer in action["answers"]] == [q["id"] for q in quiz["questions"]]
        for answer, question in zip(action["answers"], quiz["questions"], strict=True):
            options = [option["id"] for option in question.get("options", [])] or ["true", "false"]
            assert answer["selectedOption"] in options
