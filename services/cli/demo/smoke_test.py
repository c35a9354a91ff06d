"""An end-to-end check of a system: play one quiz as any player would and watch the board move.

Must never use more than a player has: it registers an account and deletes it at the end, also after a failure.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Final

import aiohttp
from topten.quiz.v1 import quiz_pb2

from services.cli.demo.demo_players import SUBMIT, attempt
from services.cli.system.client import GraphqlClient, GraphqlError
from services.cli.system.leaderboard_stream import STREAM_PATH, Event, read_board
from services.cli.terminal import EXIT_FINDING, fail, say

BOARD_SIZE: Final = 10
QUIZ: Final = "query ($id: ID!) { quiz(id: $id) { id } }"
DELETE: Final = "mutation ($password: String!) { deleteMyAccount(password: $password) }"
DELETE_SECONDS: Final = 10.0


@dataclass
class _Progress:
    """What the check waits for, for the message when it waits too long."""

    step: str = "finding a quiz"


async def play_and_watch(url: str, quizzes: Sequence[quiz_pb2.QuizDefinition], seconds: float) -> None:
    """Register a player, play one of the quizzes, and wait until the live board shows it.

    Exits with EXIT_FINDING if anything is missing or takes more than `seconds`.
    """
    name, password = f"check-{secrets.token_hex(6)}", secrets.token_urlsafe(24)
    async with GraphqlClient(f"{url}/graphql") as client:
        token = await client.register(name, password, None)
        if token is None:
            fail("A random username is already taken.", EXIT_FINDING)
        say(f"registered {name}")
        progress = _Progress()
        try:
            await _in_time(seconds, progress, _play_and_watch(client, url, quizzes, name, token, progress))
        except BaseException:
            # The first failure is the one to report; its cause may break the deletion as well.
            with suppress(GraphqlError, aiohttp.ClientError, TimeoutError):
                await _delete(client, name, password, token)
            raise
        await _delete(client, name, password, token)


async def _in_time(seconds: float, progress: _Progress, check: Awaitable[None]) -> None:
    """Wait for a check; exit with the step that it has reached if it takes more than `seconds`."""
    try:
        async with asyncio.timeout(seconds) as limit:
            await check
    except TimeoutError:
        if not limit.expired():
            raise
        late = f"The check did not finish within {seconds:.0f} s: {progress.step}."
        fail(f"{late} `topten status` shows what is away.", EXIT_FINDING)


async def _play_and_watch(
    client: GraphqlClient,
    url: str,
    quizzes: Sequence[quiz_pb2.QuizDefinition],
    name: str,
    token: str,
    progress: _Progress,
) -> None:
    quiz = await _first_imported(client, quizzes, token)
    progress.step = "reading the live board"
    async with aclosing(read_board(f"{url}{STREAM_PATH}", "all", token)) as events:
        while (event := await anext(events)).name != "update":
            pass
        say(f"the board has {len(event.data['leaderboard'])} entries")
        started = time.monotonic()
        progress.step = f"submitting {quiz.quiz_id}"
        points = await _play(client, quiz, token)
        say(f"{points} points for {quiz.quiz_id}, none for the duplicate")
        progress.step = "showing the points on the live board"
        async for event in events:
            if _shows(event, name, points):
                say(f"on the live board after {time.monotonic() - started:.2f} s")
                return


async def _delete(client: GraphqlClient, name: str, password: str, token: str) -> None:
    async with asyncio.timeout(DELETE_SECONDS):
        await client.execute(DELETE, {"password": password}, token)
    say(f"deleted {name}")


async def _first_imported(
    client: GraphqlClient, quizzes: Sequence[quiz_pb2.QuizDefinition], token: str
) -> quiz_pb2.QuizDefinition:
    """Return the first of the quizzes that the system has."""
    for quiz in quizzes:
        try:
            if (await client.execute(QUIZ, {"id": quiz.quiz_id}, token))["quiz"] is not None:
                return quiz
        except GraphqlError as error:
            if error.reason != "QUIZ_NOT_FOUND":
                raise
    return fail("The system has none of these quizzes. Import the samples: topten quiz import --samples", EXIT_FINDING)


async def _play(client: GraphqlClient, quiz: quiz_pb2.QuizDefinition, token: str) -> int:
    """Answer every question correctly and submit the action twice; return the points of the first submission."""
    action = attempt(quiz, 1.0, random.Random())  # noqa: S311  # skill 1 leaves nothing to chance
    first, repeated = [(await client.execute(SUBMIT, {"input": action}, token))["submitQuizAction"] for _ in range(2)]
    points = int(first["pointsAwarded"])
    if points <= 0 or not repeated["duplicate"] or repeated["pointsAwarded"] != points:
        fail(f"Unexpected responses to a submission and its duplicate: {first}, {repeated}", EXIT_FINDING)
    return points


def _shows(event: Event, name: str, points: int) -> bool:
    """Whether the event shows the player on the board, or their own standing below the visible entries."""
    if event.name == "update":
        return any(entry["username"] == name and entry["score"] == points for entry in event.data["leaderboard"])
    return event.name == "me" and event.data["score"] == points and (event.data["rank"] or 0) > BOARD_SIZE
