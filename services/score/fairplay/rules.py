"""The rules of fair play: whether an event, after its player's fold, is suspicious. Pure.

A rule accuses nobody: it states an observation and the limit that it exceeds. Points and actions are those of the last 60
seconds, estimated from whole minutes: of the previous minute, the part that is still within the window counts. So they
follow from the ledger alone, on any worker. Times are the server's, from the first delivery of the questions on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from services.score.ledger.events import Event
from services.score.ledger.folds.fold import Fold
from services.streams import QUIZ_COMPLETED

SCORE_JUMP: Final = "score_jump"
TOO_MANY_ACTIONS: Final = "too_many_actions"
IMPOSSIBLE_TIME: Final = "impossible_time"
RULES: Final = (SCORE_JUMP, TOO_MANY_ACTIONS, IMPOSSIBLE_TIME)
_MINUTE_MS = 60_000


class Limits(NamedTuple):
    """Most points and actions within a minute, and fewest milliseconds per question, that are not suspicious."""

    points: int
    actions: int
    question_ms: int


class Suspicion(NamedTuple):
    """A rule that an event violates. `evidence` has the numbers by name."""

    rule: str
    event_id: str
    user_id: str
    at: int
    reason: str
    evidence: Mapping[str, int]

    @property
    def flag_id(self) -> str:
        """The id of the flag: one per rule, player and minute of the event."""
        return f"{self.rule}:{self.user_id}:{self.at // _MINUTE_MS}"


def suspicions(event: Event, fold: Fold, limits: Limits) -> Iterator[Suspicion]:
    """Yield what is suspicious about `event`, which `fold` already includes. Only a player's own actions can be."""
    if event.kind != QUIZ_COMPLETED:
        return
    recent = fold.recent
    if event.at // _MINUTE_MS == recent.minute:
        remaining = _MINUTE_MS - event.at % _MINUTE_MS
        points = recent.points + recent.points_before * remaining // _MINUTE_MS
        actions = recent.actions + recent.actions_before * remaining // _MINUTE_MS
        if points > limits.points:
            yield _suspicion(
                SCORE_JUMP,
                event,
                f"{points:,} points within a minute, more than {limits.points:,}",
                {"points": points, "limit": limits.points, "total": fold.total.points},
            )
        if actions > limits.actions:
            yield _suspicion(
                TOO_MANY_ACTIONS,
                event,
                f"{actions:,} actions within a minute, more than {limits.actions:,}",
                {"actions": actions, "limit": limits.actions},
            )
    minimum = event.questions * limits.question_ms
    if event.delta > 0 and 0 <= event.elapsed < minimum:
        yield _suspicion(
            IMPOSSIBLE_TIME,
            event,
            f"{event.questions} questions read and answered in {event.elapsed:,} ms, less than {minimum:,} ms",
            {"elapsed_ms": event.elapsed, "limit_ms": minimum, "questions": event.questions},
        )


def _suspicion(rule: str, event: Event, reason: str, evidence: Mapping[str, int]) -> Suspicion:
    return Suspicion(rule, event.event_id, event.user_id, event.at, reason, evidence)
