"""Players who submit and watchers who hold a stream, through one address, and what they miss in each phase of a week.

A player's client sends a submission again under its action ID, as clients of this system do; it has failed if that takes
longer than `GIVE_UP_SECONDS`. A watcher is an EventSource: it reconnects when the server's `retry:` says, and from its last
frame on.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from services.cli.system.client import GraphqlClient, GraphqlError
from tests.cluster.tools import ROOT
from tests.deadline import deadline_seconds, eventually, poll
from tests.players import Player, register

PLAYERS: Final = 8
WATCHERS: Final = 4
# Production allows a player 60 submissions a minute.
PAUSE_SECONDS: Final = 1.2
GIVE_UP_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 0.25
# Half of an access token's life.
RENEW_SECONDS: Final = 300.0
_RENEW: Final = (
    "mutation ($token: String!) { refreshToken(refreshToken: $token) { accessToken refreshToken expiresIn } }"
)
_QUIZ: Final = ROOT / "services" / "embedded" / "quizzes" / "arithmetic-sprint.json"


@dataclass
class Phase:
    """What the players and watchers met while something happened. Seconds, and numbers of submissions and streams."""

    name: str
    seconds: float = 0.0
    submissions: int = 0
    # Accepted after an attempt that failed; accepted too late.
    repeated: int = 0
    failed: int = 0
    slowest: float = 0.0
    # The longest time between two frames of a watcher; what a player of the page sees stand still.
    gap: float = 0.0
    reconnections: int = 0
    backwards: int = 0
    # By reason.
    errors: dict[str, int] = field(default_factory=dict)

    def met(self, error: Exception, what: str = "") -> None:
        """Count an error."""
        name = what + _told(error)
        self.errors[name] = self.errors.get(name, 0) + 1


class Traffic:
    """Plays and watches in a thread until its `with` block ends."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._phase = Phase("start")
        self._begun = time.monotonic()
        self._ended = threading.Event()
        self._frames = [0.0] * WATCHERS
        self._points: dict[str, int] = {}
        self.phases: list[Phase] = []
        self.lost: dict[str, tuple[int, int]] = {}

    @contextmanager
    def running(self) -> Iterator[Traffic]:
        """Play until the block ends, and then compare every player's score with the points that they were told."""
        failures: list[BaseException] = []

        def work() -> None:
            try:
                asyncio.run(self._work())
            except BaseException as error:  # noqa: BLE001  # told to the caller
                failures.append(error)

        thread = threading.Thread(target=work, name="traffic")
        thread.start()
        try:
            poll(lambda: failures or (all(self._frames) and self._phase.submissions >= PLAYERS), "players play")
            yield self
        finally:
            self._ended.set()
            thread.join(deadline_seconds())
        if failures:
            raise failures[0]

    @contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """What happens within the block, and until another begins, is counted under this name."""
        self._begin(Phase(name))
        phase = self._phase
        try:
            yield phase
        finally:
            now = time.monotonic()
            phase.gap = max(phase.gap, *(now - max(each, self._begun) for each in self._frames))
            phase.seconds = now - self._begun
            self.phases.append(phase)
            print(
                f"{phase.name}: {phase.seconds:.0f} s, {phase.submissions} submissions, {phase.repeated} sent again, "
                f"{phase.failed} failed; longest gap {phase.gap:.1f} s; {phase.errors}",
                flush=True,
            )

    def _begin(self, phase: Phase) -> None:
        self._begun = time.monotonic()
        self._phase = phase

    async def _work(self) -> None:
        async with GraphqlClient(f"{self._url}/graphql") as client:
            players = [await register(client) for _ in range(PLAYERS)]
            watchers = [
                asyncio.create_task(self._watch(number, player)) for number, player in enumerate(players[:WATCHERS])
            ]
            await asyncio.gather(*(self._play(player) for player in players))
            for watcher in watchers:
                watcher.cancel()
            for outcome in await asyncio.gather(*watchers, return_exceptions=True):
                if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
                    raise outcome
            for player in players:
                await self._compare(player)

    async def _play(self, player: Player) -> None:
        answers = _answers()
        renew_at = time.monotonic() + RENEW_SECONDS
        while not self._ended.is_set():
            await self._submit(player, answers)
            if time.monotonic() > renew_at:
                await self._renew(player)
                renew_at = time.monotonic() + RENEW_SECONDS
            await asyncio.sleep(PAUSE_SECONDS)

    async def _submit(self, player: Player, answers: list[tuple[str, str]]) -> None:
        phase, begun, action_id, attempts = self._phase, time.monotonic(), str(uuid.uuid4()), 0
        phase.submissions += 1
        while True:
            attempts += 1
            try:
                result = await player.submit("arithmetic-sprint", answers, action_id)
            except (aiohttp.ClientError, TimeoutError, GraphqlError) as error:
                phase.met(error)
                await asyncio.sleep(AGAIN_SECONDS)
                # It may have been counted all the same: only its response tells the points.
                assert time.monotonic() - begun < deadline_seconds(), f"a submission is not accepted: {error}"
            else:
                break
        self._points[player.username] = self._points.get(player.username, 0) + result["pointsAwarded"]
        seconds = time.monotonic() - begun
        phase.repeated += attempts > 1
        phase.failed += seconds > GIVE_UP_SECONDS
        phase.slowest = max(phase.slowest, seconds)

    async def _renew(self, player: Player) -> None:
        async def renewed() -> bool:
            try:
                session = (await player.client.execute(_RENEW, {"token": player.refresh_token}))["refreshToken"]
            except (aiohttp.ClientError, TimeoutError, GraphqlError) as error:
                self._phase.met(error, "refresh: ")
                await asyncio.sleep(AGAIN_SECONDS)
                return False
            player.access_token, player.refresh_token = session["accessToken"], session["refreshToken"]
            return True

        await eventually(renewed, "a session is renewed")

    async def _compare(self, player: Player) -> None:
        told, score = self._points.get(player.username, 0), -1

        async def counted() -> bool:
            nonlocal score
            score = (await player.client.execute("{ me { score } }", {}, player.access_token))["me"]["score"] or 0
            return score >= told

        try:
            await eventually(counted, f"{told} points are counted")
        finally:
            if score != told:
                self.lost[player.username] = (told, score)

    async def _watch(self, number: int, player: Player) -> None:
        last, retry = "", 3.0  # browsers' own
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                headers = {"Authorization": f"Bearer {player.access_token}", "Accept": "text/event-stream"}
                if last:
                    headers["Last-Event-ID"] = last
                try:
                    url = f"{self._url}/api/v1/leaderboard/stream?board=all"
                    async with session.get(url, headers=headers) as response:
                        response.raise_for_status()
                        async for name, value in _fields(response.content):
                            if name == "retry":
                                retry = int(value) / 1000
                            elif name == "id":
                                self._phase.backwards += _order(value) < _order(last)
                                last = value
                                self._saw(number)
                except (aiohttp.ClientError, TimeoutError) as error:
                    self._phase.met(error, "stream: ")
                self._phase.reconnections += 1
                await asyncio.sleep(retry)

    def _saw(self, number: int) -> None:
        now = time.monotonic()
        if self._frames[number]:
            self._phase.gap = max(self._phase.gap, now - max(self._frames[number], self._begun))
        self._frames[number] = now


async def _fields(lines: aiohttp.StreamReader) -> AsyncIterator[tuple[str, str]]:
    async for line in lines:
        name, _, value = line.decode().rstrip("\r\n").partition(":")
        yield name, value.removeprefix(" ")


def _order(frame: str) -> tuple[int, ...]:
    return tuple(map(int, frame.split("-"))) if frame else ()


def _told(error: Exception) -> str:
    if isinstance(error, GraphqlError):
        return error.reason
    if isinstance(error, aiohttp.ClientResponseError):
        return f"HTTP {error.status}"
    return type(error).__name__


def _answers() -> list[tuple[str, str]]:
    quiz: dict[str, Any] = json.loads(_QUIZ.read_text())
    return [
        (each["id"], each["correct"] if isinstance(each["correct"], str) else json.dumps(each["correct"]))
        for each in quiz["questions"]
    ]
