"""`topten check`: does a system do what it is for? It plays a quiz as any player would and watches the board move.

`helm test` runs it; by hand it needs no more than the address. Must never use more than a player has: it registers an
account, and deletes it at the end, however that comes.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Annotated, Any, Final

import aiohttp
import typer

from services.local.client import GraphqlClient, GraphqlError
from services.local.commands.quiz import sample_files
from services.local.demo import attempt
from services.local.events import MAX_LINE_BYTES, read_events
from services.local.quiz_file import MAX_BYTES
from services.local.terminal import FOUND, USAGE, fail, out, run

STREAM_PATH: Final = "/api/v1/leaderboard/stream"
PLACES: Final = 10
QUIZ: Final = "query ($id: ID!) { quiz(id: $id) { id } }"
SUBMIT: Final = """mutation ($input: QuizActionInput!) {
  submitQuizAction(input: $input) { success duplicate pointsAwarded } }"""
DELETE: Final = "mutation ($password: String!) { deleteMyAccount(password: $password) }"
DELETE_SECONDS: Final = 10.0


def check(
    url: Annotated[str, typer.Option(help="Where the system is.")] = "http://127.0.0.1:8080",
    quiz: Annotated[
        Path | None, typer.Option(help="The file of a quiz that is there; one of the samples if left out.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that all of it may take.", min=1, max=3600)] = 60,
) -> None:
    """Register a player, play a quiz, send it twice, and see him on the live board; exit code 1 if something is missing.

    The player's name begins with `check-`. He is deleted at the end, also when something was missing.
    """
    if quiz is not None and (not quiz.is_file() or quiz.stat().st_size > MAX_BYTES):
        fail(f"{quiz}: no quiz file", USAGE)
    files = sample_files() if quiz is None else [quiz]
    run(_check(url.rstrip("/"), [json.loads(file.read_bytes()) for file in files], timeout))


async def _check(url: str, quizzes: list[Mapping[str, Any]], timeout: float) -> None:
    name, password = f"check-{secrets.token_hex(6)}", secrets.token_urlsafe(24)
    async with GraphqlClient(f"{url}/graphql") as client:
        token = await client.register(name, password, None)
        if token is None:
            fail("a random name is taken", FOUND)
        _say(f"registered {name}")
        try:
            async with asyncio.timeout(timeout):
                await _see(client, url, quizzes, name, token)
        except BaseException:
            # What was missing is what matters, and may be what deleting needs, too.
            with suppress(GraphqlError, aiohttp.ClientError, TimeoutError):
                await _delete(client, name, password, token)
            raise
        await _delete(client, name, password, token)


async def _see(client: GraphqlClient, url: str, quizzes: list[Mapping[str, Any]], name: str, token: str) -> None:
    """Returns when the board shows what the player has done."""
    known = await _first_known(client, quizzes, token)
    headers = {"Authorization": f"Bearer {token}"}
    session = aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=None, sock_read=45), read_bufsize=MAX_LINE_BYTES
    )
    async with session, session.get(f"{url}{STREAM_PATH}", params={"board": "all"}, headers=headers) as response:
        if response.status != 200:
            fail(f"the stream answers {response.status}", FOUND)
        async with aclosing(_told(response)) as told:
            before = await anext(told)
            _say(f"the board has {len(before['leaderboard'])} places")
            begun = time.monotonic()
            points = await _play(client, known, token)
            _say(f"{points} points for {known['id']}, and none for sending it again")
            async for told_of in told:
                if _shown(told_of, name, points):
                    _say(f"on the live board after {time.monotonic() - begun:.2f} s")
                    return
    fail("the stream ended before it showed the player", FOUND)


async def _delete(client: GraphqlClient, name: str, password: str, token: str) -> None:
    async with asyncio.timeout(DELETE_SECONDS):
        await client.execute(DELETE, {"password": password}, token)
    _say(f"deleted {name}")


async def _first_known(client: GraphqlClient, quizzes: list[Mapping[str, Any]], token: str) -> Mapping[str, Any]:
    """The first of the quizzes that the system has."""
    for quiz in quizzes:
        try:
            if (await client.execute(QUIZ, {"id": quiz["id"]}, token))["quiz"] is not None:
                return quiz
        except GraphqlError as error:
            if error.reason != "QUIZ_NOT_FOUND":
                raise
    return fail("none of the quizzes is there; `topten quiz import --samples` loads the samples", FOUND)


async def _play(client: GraphqlClient, quiz: Mapping[str, Any], token: str) -> int:
    """Answer everything right, twice with one action id; the points of the first time."""
    action = attempt(quiz, 1.0, random.Random())  # noqa: S311  # with skill 1 it decides nothing
    first, again = [(await client.execute(SUBMIT, {"input": action}, token))["submitQuizAction"] for _ in range(2)]
    points = int(first["pointsAwarded"])
    if points <= 0 or not again["duplicate"] or again["pointsAwarded"] != points:
        fail(f"answered {first}, and sent again {again}", FOUND)
    return points


async def _told(response: aiohttp.ClientResponse) -> AsyncGenerator[dict[str, Any], None]:
    """What the stream tells: boards, and the reader's own place."""
    async with aclosing(read_events(response.content)) as events:
        async for name, _, text in events:
            if name in ("update", "me"):
                yield json.loads(text)


def _shown(told: Mapping[str, Any], name: str, points: int) -> bool:
    """True for a board with the player on it, or for his own place where that is further down."""
    if "leaderboard" in told:
        return any(entry["username"] == name and entry["score"] == points for entry in told["leaderboard"])
    return bool(told["score"] == points and (told["rank"] or 0) > PLACES)


def _say(line: str) -> None:
    out.print(line, markup=False, soft_wrap=True)
