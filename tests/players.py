"""Players as a client sees the system: GraphQL and the stream, nothing else."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import aiohttp

from services.cli.system.client import Endpoints, GraphqlClient
from tests.deadline import deadline, deadline_seconds
from tests.servers import RunningStack, unique

PASSWORD = "correct horse battery"
SUBMIT = """mutation ($input: QuizActionInput!) {
  submitQuizAction(input: $input) {
    success message actionId duplicate pointsAwarded correctAnswers totalQuestions
  }
}"""
ACT = """mutation ($input: ActionInput!) {
  submitAction(input: $input) { success message actionId duplicate pointsAwarded }
}"""
REGISTER = """mutation ($input: RegisterInput!) {
  register(input: $input) { accessToken refreshToken expiresIn user { userId username roles country } }
}"""
TOP = """query ($board: BoardInput, $limit: Int!) {
  getLeaderboard(board: $board, limit: $limit) { userId username score rank country previousRank gapToNext }
}"""


@dataclass
class Player:
    """A registered player with their tokens."""

    client: GraphqlClient
    username: str
    user_id: str
    access_token: str
    refresh_token: str

    async def submit(
        self, quiz_id: str, answers: Sequence[tuple[str, str]], action_id: str | None = None, **changes: Any
    ) -> dict[str, Any]:
        """Submit answers and return the result of `submitQuizAction`; raises GraphqlError for a refusal."""
        action = {
            "quizId": quiz_id,
            "actionId": action_id or str(uuid.uuid4()),
            "answers": [{"questionId": question, "selectedOption": option} for question, option in answers],
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        } | changes
        data = await self.client.execute(SUBMIT, {"input": action}, self.access_token)
        result: dict[str, Any] = data["submitQuizAction"]
        return result

    async def act(self, action_type_id: str, action_id: str, **fields: Any) -> dict[str, Any]:
        """Submit an action of a type and return the result of `submitAction`; raises GraphqlError for a refusal."""
        action = {"actionTypeId": action_type_id, "actionId": action_id} | fields
        data = await self.client.execute(ACT, {"input": action}, self.access_token)
        result: dict[str, Any] = data["submitAction"]
        return result

    async def top(self, board: dict[str, Any] | None = None, limit: int = 10) -> list[dict[str, Any]]:
        """Return the entries of `getLeaderboard`."""
        data = await self.client.execute(TOP, {"board": board, "limit": limit}, self.access_token)
        entries: list[dict[str, Any]] = data["getLeaderboard"]
        return entries


async def register(client: GraphqlClient, *, country: str | None = "VN", username: str | None = None) -> Player:
    """Register a player, with a unique name unless one is given."""
    account = {"username": username or unique("player-"), "password": PASSWORD, "country": country}
    session = (await client.execute(REGISTER, {"input": account}))["register"]
    return Player(
        client, account["username"] or "", session["user"]["userId"], session["accessToken"], session["refreshToken"]
    )


def endpoints(stack: RunningStack) -> Endpoints:
    """The addresses of a running stack, as the `topten` command reads them."""
    return Endpoints(stack.endpoints)


@dataclass(frozen=True)
class Event:
    """One event of a stream."""

    name: str
    id: str
    data: dict[str, Any]


@asynccontextmanager
async def stream(url: str, token: str, board: str = "all", **headers: str) -> AsyncIterator[AsyncIterator[Event]]:
    """Open a leaderboard stream; yields its events, except for `ping`."""
    async with _stream(f"{url}/api/v1/leaderboard/stream?board={quote(board)}", token, headers) as events:
        yield events


@asynccontextmanager
async def room_stream(url: str, token: str, pin: str) -> AsyncIterator[AsyncIterator[Event]]:
    """Open the stream of a room; yields its events, except for `ping`."""
    async with _stream(f"{url}/api/v1/rooms/{pin}/stream", token, {}) as events:
        yield events


@asynccontextmanager
async def _stream(url: str, token: str, headers: dict[str, str]) -> AsyncIterator[AsyncIterator[Event]]:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    sent = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"} | headers
    async with aiohttp.ClientSession(timeout=timeout, read_bufsize=2**20) as session:
        async with session.get(url, headers=sent) as response:
            assert response.status == 200, (response.status, await response.text())
            yield _events(response.content)


async def _events(lines: aiohttp.StreamReader) -> AsyncIterator[Event]:
    fields: dict[str, str] = {}
    async for raw in lines:
        line = raw.decode().rstrip("\n").rstrip("\r")
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            if fields.get("event") != "ping":
                yield Event(fields.get("event", "message"), fields.get("id", ""), json.loads(fields["data"]))
            fields = {}


async def until(events: AsyncIterator[Event], holds: Callable[[dict[str, Any]], bool]) -> Event:
    """Return the first `update` for which `holds(data)` is true; fails at the deadline with the last one."""
    last: Event | None = None
    try:
        async with asyncio.timeout(deadline_seconds()):
            async for event in events:
                if event.name == "update":
                    last = event
                    if holds(event.data):
                        return event
    except TimeoutError:
        raise AssertionError(f"no such update within {deadline_seconds():g} s; the last was {last}") from None
    raise AssertionError(f"the stream ended; the last update was {last}")


async def drained(events: AsyncIterator[Event]) -> None:
    """Wait until the server ends the stream."""
    async with deadline("the server ends the stream"):
        async for _ in events:
            pass


def shows(username: str, score: int) -> Callable[[dict[str, Any]], bool]:
    """A condition for `until`: the update shows this player with at least this score."""
    return lambda data: any(e["username"] == username and e["score"] >= score for e in data["leaderboard"])
