"""Simulated players: they register and answer quizzes through the public interface, as people would.

They read correct answers from the sample files, since the interface never reveals them. Must never use more than a player
has.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
from topten.quiz.v1 import quiz_pb2

from services.cli.system.client import Endpoints, GraphqlClient, GraphqlError, describe
from services.quiz.formats.source import FormatError, Source
from services.quiz.formats.topten import topten_json
from services.quiz.questions.answers import Form, pairs
from services.quiz.questions.kinds import kind_of
from services.runtime.process.lifecycle import cancel

NAMES: Final = (
    "Akira", "Amara", "Anouk", "Bao", "Bruno", "Chidi", "Clara", "Dao", "Diego", "Elif", "Emre", "Fatou", "Freya", "Giulia",
    "Hana", "Hugo", "Ines", "Ivan", "Jonas", "Kaia", "Kofi", "Lan", "Leila", "Luca", "Mai", "Mateo", "Minh", "Nadia", "Noor",
    "Omar", "Paula", "Quang", "Ravi", "Rosa", "Sana", "Sven", "Tala", "Thu", "Tomas", "Uma", "Viktor", "Wanja", "Yara", "Zoe",
)  # fmt: skip
COUNTRIES: Final = ("VN", "DE", "BR", "NG", "JP", "IN", "FR", "MX", "KE", "SE")
PAUSE_SECONDS: Final = (3.0, 12.0)
REPORT_SECONDS: Final = 60.0
SUBMIT: Final = "mutation ($input: QuizActionInput!) { submitQuizAction(input: $input) { duplicate pointsAwarded } }"


class DemoPlayers:
    """`count` players, each a task that plays until `stop` and survives restarts of the system.

    The file `log` receives a line when the first of them has scored, then every REPORT_SECONDS how much they played, and why
    none can play.
    """

    def __init__(self, endpoints: Endpoints, count: int, password: str, samples: Path, log: Path) -> None:
        self._log = log
        self._played = self._points = self._refused = 0
        self._reported_at = float("-inf")
        self._endpoints = endpoints
        self._count = count
        self._password = password
        self._quizzes = [read_quiz(path) for path in sorted(samples.glob("*.json"))]
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def names(self) -> list[str]:
        """Their usernames."""
        return [_name(number) for number in range(self._count)]

    def start(self) -> None:
        """Start playing."""
        self._tasks = [asyncio.create_task(self._play(number), name=f"demo {number}") for number in range(self._count)]

    async def stop(self) -> None:
        """Stop playing and wait for the end of every task."""
        await cancel(*self._tasks)

    async def _play(self, number: int) -> None:
        name = _name(number)
        dice = random.Random(number)  # noqa: S311  # a reproducible player, not a secret
        skill = dice.uniform(0.4, 0.95)
        async with GraphqlClient(self._endpoints.graphql) as client:
            token: str | None = None
            while True:
                await asyncio.sleep(dice.uniform(*PAUSE_SECONDS))
                try:
                    if token is None:
                        await client.register(name, self._password, COUNTRIES[number % len(COUNTRIES)])
                        token = await client.login(name, self._password)
                    quiz = dice.choice(self._quizzes)
                    submitted = await client.execute(SUBMIT, {"input": attempt(quiz, skill, dice)}, token)
                    self._count_play(name, int(submitted["submitQuizAction"]["pointsAwarded"]))
                except GraphqlError as error:
                    self._refused += 1
                    if not self._played and self._refused == self._count:
                        self._report(f"the simulated players cannot play: {describe(error)}")
                    if error.reason == "UNAUTHENTICATED":
                        token = None
                except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                    continue  # the system or a proxy is restarting; the player tries again after the pause

    def _report(self, line: str) -> None:
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {line}\n")

    def _count_play(self, name: str, points: int) -> None:
        self._played += 1
        self._points += points
        if time.monotonic() - self._reported_at >= REPORT_SECONDS:
            first = self._played == 1
            self._reported_at = time.monotonic()
            self._report(
                f"{name} is the first simulated player with a result: {points} points"
                if first
                else f"{self._count} simulated players have played {self._played} quizzes for {self._points:,} points"
            )


def _name(number: int) -> str:
    round_, index = divmod(number, len(NAMES))
    return f"{NAMES[index]}{round_ + 1 if round_ else ''}"


def read_quiz(path: Path) -> quiz_pb2.QuizDefinition:
    """Return the quiz of a file in our own format. Raises FormatError."""
    [report] = topten_json.read(Source(path.read_bytes()))
    if report.faults:
        raise FormatError(*report.faults)
    return report.definition


def attempt(quiz: quiz_pb2.QuizDefinition, skill: float, dice: random.Random) -> dict[str, Any]:
    """Make the input of submitQuizAction; each answer is right with probability `skill`, and otherwise a guess."""
    return {
        "quizId": quiz.quiz_id,
        "actionId": str(uuid.uuid4()),
        "answers": [{"questionId": entry.question.id, **given_answer(entry, skill, dice)} for entry in quiz.questions],
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


def given_answer(entry: quiz_pb2.QuestionDefinition, skill: float, dice: random.Random) -> dict[str, Any]:
    """Make a GivenAnswerInput, right with probability `skill` and otherwise a guess."""
    kind = kind_of(entry)
    values = kind.right if dice.random() < skill else _guess(entry, dice)
    return _form_of(kind.form, values)


def _guess(entry: quiz_pb2.QuestionDefinition, dice: random.Random) -> tuple[str, ...]:
    """Return the values of an answer that the question allows."""
    options = [option.id for option in entry.question.options]
    match entry.question.kind:
        case quiz_pb2.QUESTION_KIND_MULTIPLE_CHOICE:
            return tuple(dice.sample(options, dice.randint(1, len(options))))
        case quiz_pb2.QUESTION_KIND_NUMERIC:
            return (str(dice.randint(0, 100)),)
        case quiz_pb2.QUESTION_KIND_SHORT_TEXT:
            return ("no idea",)
        case quiz_pb2.QUESTION_KIND_ORDERING:
            return tuple(dice.sample(options, len(options)))
        case quiz_pb2.QUESTION_KIND_MATCHING:
            targets = [target.id for target in entry.question.targets]
            return tuple(value for option in options for value in (option, dice.choice(targets)))
        case _:
            return (dice.choice(options),)


def _form_of(form: Form, values: tuple[str, ...]) -> dict[str, Any]:
    """Return the values of an answer as GraphQL takes them."""
    match form:
        case "selected_option":
            return {"selectedOption": values[0]}
        case "selected_options":
            return {"selectedOptions": [*values]}
        case "text":
            return {"text": values[0]}
        case "matches":
            return {"matches": [{"option": option, "target": target} for option, target in pairs(values)]}
