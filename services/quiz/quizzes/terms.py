"""The terms on which actions at a quiz or of a type count. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from topten.quiz.v1 import quiz_pb2

from services.quiz.quizzes.limits import Limits
from services.quiz.quizzes.quiz import Quiz
from services.quiz.quizzes.scoring import Tally, tally
from services.runtime.clock import milliseconds_of

_COUNTED_TAG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)


class Terms(NamedTuple):
    """How actions of a player count together, by which version of the definition, how many may, and under which tags.

    `shows_metadata` is whether boards show their metadata.
    """

    counting: quiz_pb2.Counting.ValueType
    version: int
    limits: Limits
    tags: tuple[str, ...] = ()
    shows_metadata: bool = False


def terms_of(quiz: Quiz) -> Terms:
    """Return the terms of a quiz."""
    limits = Limits(max_actions=quiz.max_attempts, cooldown=quiz.cooldown // timedelta(milliseconds=1))
    return Terms(quiz.counting, quiz.version, limits)


def counted_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the tags that boards can count, in order: those that a source of a board can name."""
    return tuple(sorted({tag for tag in tags if _COUNTED_TAG.fullmatch(tag)}))


def tally_after(terms: Terms, before: Tally, at: datetime, points: int) -> Tally:
    """Return the tally after one more action that was received at this time and earned `points`."""
    after = tally(terms.counting, before, points)
    recent = terms.limits.recent_after(before, milliseconds_of(at), points)
    return replace(after, recent=recent) if recent else after


def subject_of(quiz_id: str, action_type_id: str) -> str:
    """Return what a record is about, by which a player's records are numbered: `<quiz id>` or `action:<type>`.

    A quiz's id has no colon. Empty for an adjustment, which is about neither.
    """
    return f"action:{action_type_id}" if action_type_id else quiz_id
