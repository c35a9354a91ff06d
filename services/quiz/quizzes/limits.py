"""How much of a player's actions may count: in all, in a window of time, and how soon after one another. Pure.

A tally has what a limit needs, so that the number under which an action is recorded also decides whether it was the last one
allowed. Times are milliseconds since 1970, by the server's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.quiz.quizzes.scoring import Tally, Use

# Uses in a window beyond these many are kept by the 64th part of the window, each as if it were at the end of its part.
MAX_USES: Final = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """At most `max_actions` and `max_points` within any `per`, and `cooldown` between two actions.

    0 is no limit; a `per` of 0 is all time.
    """

    max_actions: int = 0
    max_points: int = 0
    per: int = 0
    cooldown: int = 0

    def cooled_down_at(self, before: Tally) -> int:
        """Return when the cooldown after the last action is over; 0 if there is none."""
        return before.recent[-1].at + self.cooldown if self.cooldown and before.recent else 0

    def exceeded(self, before: Tally, at: int, points: int) -> str:
        """Return which limit one more action would exceed, in one sentence; empty if none."""
        actions, earned = before.used, before.points_sum
        if self.per:
            current = [use for use in before.recent if use.at > at - self.per]
            actions, earned = sum(use.actions for use in current), sum(use.points for use in current)
        window = f" within {_seconds(self.per)}" if self.per else ""
        if at < self.cooled_down_at(before):
            return f"The player must wait {_seconds(self.cooldown)} after an action of this type."
        if self.max_actions and actions >= self.max_actions:
            return f"The player has used all actions of this type: {self.max_actions} allowed{window}."
        if self.max_points and earned + points > self.max_points:
            return f"The player would exceed the most points of this type: {self.max_points} allowed{window}."
        return ""

    def recent_after(self, before: Tally, at: int, points: int) -> tuple[Use, ...]:
        """Return what later actions need to know of the uses so far and of one more; at most 66 uses."""
        horizon = max(self.per, self.cooldown)
        if not horizon:
            return ()
        recent = [use for use in before.recent if use.at > at - horizon]
        if len(recent) > MAX_USES:
            recent = _merged(recent, -(-horizon // MAX_USES))
        latest = max([at, *(use.at for use in recent[-1:])])
        return (*recent, Use(latest, 1, points))


def _merged(uses: Sequence[Use], part: int) -> list[Use]:
    """Return the uses by parts of this length, each at the end of its part: they expire no earlier than they would."""
    merged: dict[int, Use] = {}
    for use in uses:
        end = -(-use.at // part) * part
        _, actions, points = merged.get(end, Use(end, 0, 0))
        merged[end] = Use(end, actions + use.actions, points + use.points)
    return [merged[end] for end in sorted(merged)]


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:g} s"
