"""A whole system under a random sequence of faults, the same for the same seed, and everything checked after it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError
from topten.quiz.v1 import quiz_pb2

from services.local.client import GraphqlClient
from tests.factories import quiz_definition
from tests.faults.history import History
from tests.imports import import_quiz
from tests.players import PASSWORD, Player, endpoints, register
from tests.screens import Screen
from tests.servers import RunningStack, topten, unique

WORKERS = ("--workers", "2")
SETTINGS = {
    "TOPTEN_LEADERBOARD_TICK": "100ms",
    "TOPTEN_SCORE_ACK_WAIT": "3s",
    "TOPTEN_QUIZ_OUTBOX_LEASE": "1s",
    "TOPTEN_MONGO_TIMEOUT": "3s",
}
PLAYERS = 6
PROCESSES = ("edge", "edge-2", "quiz", "score", "leaderboard", "identity", "redis", "nats", "mongo")
_HEAL_SECONDS = 60


class Fault(NamedTuple):
    """What happens, to whom, for how long, and how long it is quiet afterwards."""

    kind: str
    name: str
    seconds: float
    pause: float

    def __str__(self) -> str:
        """As it is printed."""
        return f"{self.kind} {self.name}" + (f" for {self.seconds:.1f} s" if self.seconds else "")


def plan(seed: int, longest_stop: float) -> Iterator[Fault]:
    """Faults without end."""
    chance = random.Random(seed)
    while True:
        kind = chance.choices(("kill", "stop", "flush", "unsubscribe", "kill again and again"), (8, 4, 2, 2, 1))[0]
        name = {"flush": "redis", "unsubscribe": "redis"}.get(kind) or chance.choice(PROCESSES)
        seconds = chance.uniform(1, longest_stop) if kind == "stop" else 0.0
        yield Fault(kind, name, seconds, chance.uniform(0.2, 3.0))


class RandomRun:
    """One run on a stack of its own with two edges; `say` is told each fault as it happens."""

    def __init__(self, stack: RunningStack, seed: int, say: Callable[[str], None]) -> None:
        self._stack = stack
        self._seed = seed
        self._say = say
        self._over = asyncio.Event()

    async def run(self, seconds: float, *, longest_stop: float = 10.0) -> list[str]:
        """What is wrong after `seconds` of faults; nothing, as it should be."""
        quiz_id = unique("faults-")
        await import_quiz(endpoints(self._stack), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM))
        history, chance = History(quiz_id), random.Random(self._seed + 1)
        async with GraphqlClient(endpoints(self._stack).graphql) as client:
            players = [await register(client) for _ in range(PLAYERS)]
            account = self._stack.endpoints["moderator"]
            token = await client.login(account["username"], account["password"])
            playing = [history.play(player, random.Random(chance.random()), self._over) for player in players]
            boards = {"all": {"kind": "ALL"}, f"quiz:{quiz_id}": {"kind": "QUIZ", "quizId": quiz_id}}
            screens = {board: self._screens(players[0], board) for board in boards}
            watching = [asyncio.create_task(screen.watch()) for each in screens.values() for screen in each]
            tasks = [asyncio.create_task(work) for work in playing]
            ends = time.monotonic() + seconds
            for fault in plan(self._seed, longest_stop):
                if time.monotonic() >= ends:
                    break
                self._say(str(fault))
                await self._commit(fault)
                if history.answered and chance.random() < 0.3:
                    await history.void(client, token, chance.choice(list(history.answered)))
                await asyncio.sleep(fault.pause)
            self._over.set()
            async with asyncio.timeout(2 * _HEAL_SECONDS):
                await asyncio.gather(*tasks)
            verified = await self._verified()
            players[0].access_token = await client.login(players[0].username, PASSWORD)
            for board, each in screens.items():
                history.faults += await _shown(each, await players[0].top(boards[board]))
            for task in watching:
                task.cancel()
        seen = [screen for each in screens.values() for screen in each]
        frames = sum(screen.frames for screen in seen)
        self._say(
            f"{len(history.answered)} actions answered, {len(history.given_up)} given up, {len(history.voided)} voided, "
            f"{frames} frames seen, {sum(screen.dropped for screen in seen)} of them old"
        )
        if not history.answered or not frames:
            history.faults.append("nothing happened")
        return [*verified, *await history.check(self._stack.endpoints["stores"]["mongo"])]

    async def _commit(self, fault: Fault) -> None:
        if fault.kind == "kill":
            await self._kill(fault.name)
        elif fault.kind == "kill again and again":
            for _ in range(3):
                await self._kill(fault.name)
                await asyncio.sleep(0.5)
        elif fault.kind == "stop":
            pid = self._stack.pid_of(fault.name)
            os.kill(pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(fault.seconds)
            finally:
                os.kill(pid, signal.SIGCONT)
        else:
            await self._redis(Redis.flushall if fault.kind == "flush" else _unsubscribe)

    async def _kill(self, name: str) -> None:
        pid = self._stack.pid_of(name)
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(_HEAL_SECONDS):
            while self._stack.pid_of(name) == pid:
                await asyncio.sleep(0.02)

    async def _redis(self, do: Callable[[Redis], Awaitable[object]]) -> None:
        redis: Redis = Redis.from_url(self._stack.endpoints["stores"]["redis"], socket_timeout=2)
        async with redis:
            try:
                await do(redis)
            except (RedisError, OSError):
                self._say("redis did not answer")

    def _screens(self, player: Player, board: str) -> list[Screen]:
        """One that stays as long as it can, and one that moves to whichever edge it finds."""

        async def sign_in() -> str:
            return await player.client.login(player.username, PASSWORD)

        return [Screen(self._stack.http, sign_in, board, leaves_after=after) for after in (None, 3)]

    async def _verified(self) -> list[str]:
        """What `topten verify` finds when everything has had its time."""
        async with asyncio.timeout(_HEAL_SECONDS * 3):
            while True:
                process = await asyncio.create_subprocess_exec(
                    *topten("verify", "--patience", "30", "--data", str(self._stack.data)),
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                )
                output, errors = await process.communicate()
                if process.returncode == 0:
                    return []
                if process.returncode == 1:
                    return output.decode().splitlines()
                self._say(f"not verified yet: {errors.decode().strip()[-200:]}")
                await asyncio.sleep(1)


async def _shown(screens: Sequence[Screen], expected: list[dict[str, Any]]) -> list[str]:
    """What is wrong with what screens of one board have shown, now that it should be this."""
    wrong = [fault for screen in screens for fault in screen.faults]
    for screen in screens:
        try:
            await screen.until(lambda data: bool(data["leaderboard"] == expected), _HEAL_SECONDS)
        except TimeoutError:
            wrong.append("a screen does not come to show its board")
    return wrong


async def _unsubscribe(redis: Redis) -> object:
    return await redis.client_kill_filter(_type="pubsub")
