"""The rules of fair play: what a player's row, seen on top of his fold, makes suspicious.

Pure. A rule accuses nobody: it says what was seen and which limit that passes. Points and actions are those of the last
60 seconds, estimated from whole minutes (of the one before, the share that is still within the window), so that they
follow from the ledger alone, on whatever worker. Times are the server's, from the first delivery of the questions on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from services.score.ledger import QUIZ_COMPLETED, Event, Fold

SCORE_JUMP: Final = "score_jump"
TOO_MANY_ACTIONS: Final = "too_many_actions"
IMPOSSIBLE_TIME: Final = "impossible_time"
RULES: Final = (SCORE_JUMP, TOO_MANY_ACTIONS, IMPOSSIBLE_TIME)
_MINUTE_MS = 60_000


class Limits(NamedTuple):
    """What is still believed: points and actions in a minute, and the milliseconds that a question takes at least."""

    points: int
    actions: int
    question_ms: int


class Suspicion(NamedTuple):
    """A rule that an event passes. `evidence` holds the numbers by name."""

    rule: str
    event_id: str
    user_id: str
    at: int
    reason: str
    evidence: Mapping[str, int]

    @property
    def flag_id(self) -> str:
        """Of one rule, player and minute (of the event, since 1970) one suspicion is enough."""
        return f"{self.rule}:{self.user_id}:{self.at // _MINUTE_MS}"


def suspicions(event: Event, fold: Fold, limits: Limits) -> Iterator[Suspicion]:
    """What is suspicious about `event`, which is in `fold` already. Only a player's own actions can be."""
    if event.kind != QUIZ_COMPLETED:
        return
    recent = fold.recent
    if event.at // _MINUTE_MS == recent.minute:
        left = _MINUTE_MS - event.at % _MINUTE_MS
        points = recent.points + recent.points_before * left // _MINUTE_MS
        actions = recent.actions + recent.actions_before * left // _MINUTE_MS
        if points > limits.points:
            yield _seen(
                SCORE_JUMP,
                event,
                f"{points} points within a minute, more than {limits.points}",
                {"points": points, "limit": limits.points, "total": fold.total.points},
            )
        if actions > limits.actions:
            yield _seen(
                TOO_MANY_ACTIONS,
                event,
                f"{actions} actions within a minute, more than {limits.actions}",
                {"actions": actions, "limit": limits.actions},
            )
    least = event.questions * limits.question_ms
    if event.delta > 0 and 0 <= event.elapsed < least:
        yield _seen(
            IMPOSSIBLE_TIME,
            event,
            f"{event.questions} questions read and answered in {event.elapsed} ms, less than {least}",
            {"elapsed_ms": event.elapsed, "limit_ms": least, "questions": event.questions},
        )


def _seen(rule: str, event: Event, reason: str, evidence: Mapping[str, int]) -> Suspicion:
    return Suspicion(rule, event.event_id, event.user_id, event.at, reason, evidence)
