"""Notices, from the rows of a player. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from services.score.ledger.rows import Row


class Notice(NamedTuple):
    """A change by others than the player; `recorded_at` is in milliseconds.

    Points are those at the quiz, and without a quiz the total of all time.
    """

    revision: int
    kind: str
    quiz_id: str
    action_type_id: str
    points_before: int
    points_after: int
    reason: str
    recorded_at: int


def notices_of(rows: Sequence[Row]) -> list[Notice]:
    """Return the notices of rows, both newest first.

    Rows of one kind, quiz and reason that follow one another are one notice, as when several attempts are judged again; none
    if they cancel out.
    """
    notices = []
    for (kind, quiz_id, action_type_id, reason), group in groupby(rows, _subject):
        together = list(group)
        newest, oldest = together[0], together[-1]
        if quiz_id:
            after = newest.quiz.points
            before = after - sum(row.delta for row in together)
        else:
            before, after = oldest.old_total, newest.total.points
        if before != after:
            notices.append(
                Notice(newest.revision, kind, quiz_id, action_type_id, before, after, reason, newest.recorded_at)
            )
    return notices


def _subject(row: Row) -> tuple[str, str, str, str]:
    change = row.change
    return row.kind, row.quiz_id, change.action_type_id if change else "", change.reason if change else ""
