"""Simulated players: they sign in and answer quizzes through the public interface, as people would.

Owns their pace and skill. They read the keys from the project's own sample files, since the interface never tells one.
Must never be able to do what a player can't.
"""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp

from services.local.client import Endpoints, GraphqlClient, GraphqlError

NAMES: Final = (
    "Akira", "Amara", "Anouk", "Bao", "Bruno", "Chidi", "Clara", "Dao", "Diego", "Elif", "Emre", "Fatou", "Freya", "Giulia",
    "Hana", "Hugo", "Ines", "Ivan", "Jonas", "Kaia", "Kofi", "Lan", "Leila", "Luca", "Mai", "Mateo", "Minh", "Nadia", "Noor",
    "Omar", "Paula", "Quang", "Ravi", "Rosa", "Sana", "Sven", "Tala", "Thu", "Tomas", "Uma", "Viktor", "Wanja", "Yara", "Zoe",
)  # fmt: skip
COUNTRIES: Final = ("VN", "DE", "BR", "NG", "JP", "IN", "FR", "MX", "KE", "SE")
# Seconds between two answers of one player.
PACE: Final = (3.0, 12.0)
SUBMIT: Final = """mutation ($input: QuizActionInput!) { submitQuizAction(input: $input) { pointsAwarded } }"""


class DemoPlayers:
    """`count` players, each a task that goes on until `stop`, whatever the system goes through meanwhile."""

    def __init__(self, endpoints: Endpoints, count: int, password: str, samples: Path) -> None:
        self._endpoints = endpoints
        self._count = count
        self._password = password
        self._quizzes = [json.loads(path.read_bytes()) for path in sorted(samples.glob("*.json"))]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin playing."""
        self._tasks = [asyncio.create_task(self._play(number), name=f"demo {number}") for number in range(self._count)]

    async def stop(self) -> None:
        """Stop playing."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _play(self, number: int) -> None:
        round_, index = divmod(number, len(NAMES))
        name = f"{NAMES[index]}{round_ + 1 if round_ else ''}"
        dice = random.Random(number)  # noqa: S311  # a player's taste, not a secret
        skill = dice.uniform(0.4, 0.95)
        async with GraphqlClient(self._endpoints.graphql) as client:
            token: str | None = None
            while True:
                await asyncio.sleep(dice.uniform(*PACE))
                try:
                    if token is None:
                        await client.register(name, self._password, COUNTRIES[number % len(COUNTRIES)])
                        token = await client.login(name, self._password)
                    quiz = dice.choice(self._quizzes)
                    await client.execute(SUBMIT, {"input": attempt(quiz, skill, dice)}, token)
                except GraphqlError as error:
                    if error.reason == "UNAUTHENTICATED":
                        token = None
                except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                    # The system is starting again, or something between is; a player tries later.
                    continue


def attempt(quiz: Mapping[str, Any], skill: float, dice: random.Random) -> dict[str, Any]:
    """The input of submitQuizAction: each answer is right with the probability `skill`, by the quiz file's own key."""
    answers = []
    for question in quiz["questions"]:
        correct = question["correct"]
        options = [option["id"] for option in question.get("options", [{"id": "true"}, {"id": "false"}])]
        right = str(correct).lower() if isinstance(correct, bool) else correct
        selected = right if dice.random() < skill else dice.choice(options)
        answers.append({"questionId": question["id"], "selectedOption": selected})
    return {
        "quizId": quiz["id"],
        "actionId": str(uuid.uuid4()),
        "answers": answers,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
