"""How the points of an attempt come from its answers: the rules of a quiz, and presets of them by name. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from topten.quiz.v1 import quiz_pb2

# The most that a streak of right answers adds to one question, in percent of its points.
MAX_STREAK_PERCENT: Final = 100


@dataclass(frozen=True, slots=True)
class Rules:
    """Percentages of a question's points; see `Scoring` of the contract."""

    penalty_percent: int = 0
    streak_percent: int = 0
    time_bonus_percent: int = 0
    time_limit_ms: int = 0

    def penalty(self, points: int) -> int:
        """Return what a wrong answer to a question of these points takes away, rounded down."""
        return points * self.penalty_percent // 100

    def streak_bonus(self, points: int, before: int) -> int:
        """Return what a right answer adds after `before` right ones in a row, rounded down."""
        return points * min(self.streak_percent * before, MAX_STREAK_PERCENT) // 100

    def time_bonus(self, earned: int, elapsed_ms: int | None) -> int:
        """Return what an attempt's time adds to the points that it earned, rounded down; nothing if the time is unknown."""
        if not self.time_limit_ms or elapsed_ms is None or earned <= 0:
            return 0
        left = self.time_limit_ms - min(max(elapsed_ms, 0), self.time_limit_ms)
        return earned * self.time_bonus_percent * left // (100 * self.time_limit_ms)


STANDARD: Final = Rules()
PRESETS: Final[Mapping[str, Rules]] = {
    "standard": STANDARD,
    "negative": Rules(penalty_percent=25),
    "streak": Rules(streak_percent=10),
    "timed": Rules(time_bonus_percent=50, time_limit_ms=300_000),
}


def shown_scoring(scoring: quiz_pb2.Scoring) -> quiz_pb2.Scoring:
    """Return the scoring of a valid definition as players see it: with every value, also those of its preset."""
    rules = rules_of(scoring)
    return quiz_pb2.Scoring(
        preset=scoring.preset,
        penalty_percent=rules.penalty_percent,
        streak_percent=rules.streak_percent,
        time_bonus_percent=rules.time_bonus_percent,
        time_limit_seconds=rules.time_limit_ms // 1000,
    )


def rules_of(scoring: quiz_pb2.Scoring) -> Rules:
    """Return the rules of a valid definition."""
    if scoring.preset:
        return PRESETS[scoring.preset]
    return Rules(
        penalty_percent=scoring.penalty_percent,
        streak_percent=scoring.streak_percent,
        time_bonus_percent=scoring.time_bonus_percent,
        time_limit_ms=scoring.time_limit_seconds * 1000,
    )
