"""Notices are made of rows: one for what belongs together, and none for what cancels out."""

from __future__ import annotations

from services.score.ledger.events import Change, Event
from services.score.ledger.folds.fold import apply, empty_fold, next_row
from services.score.ledger.history import EMPTY
from services.score.ledger.rows import Row
from services.score.notices.notice import notices_of

START = 1_764_000_000_000


def rows(*events: Event) -> list[Row]:
    """Return the rows of a player's events, newest first."""
    fold, made = empty_fold("ada", b"chain"), []
    for event in events:
        made.append(next_row(fold, event, event.at + 5, history=EMPTY))
        fold = apply(fold, made[-1])
    return made[::-1]


def amendment(
    number: int, kind: str, delta: int, *, total: int = 0, quiz_id: str = "rivers", why: str = "key"
) -> Event:
    return Event(
        f"e{number}",
        "ada",
        quiz_id,
        delta,
        START + number,
        f"a{number}",
        number,
        total,
        kind=kind,
        change=Change("mo", why),
    )


def test_attempts_that_are_judged_again_together_are_one_notice() -> None:
    made = rows(
        Event("e1", "ada", "rivers", 10, START, "a1", 1, 10),
        amendment(2, "ACTION_REJUDGED", 5, total=15),
        amendment(3, "ACTION_REJUDGED", 7, total=22),
        amendment(4, "ACTION_REJUDGED", -2, total=20, why="another key"),
    )
    later, first = notices_of(made[:3])
    assert (first.revision, first.points_before, first.points_after, first.reason) == (3, 10, 22, "key")
    assert (later.revision, later.points_before, later.points_after, later.recorded_at) == (4, 22, 20, START + 9)


def test_a_change_without_a_quiz_is_one_of_the_total() -> None:
    made = rows(
        Event("e1", "ada", "rivers", 10, START, "a1", 1, 10),
        amendment(2, "SCORE_ADJUSTED", -3, quiz_id=""),
        amendment(3, "ACTION_VOIDED", -10, total=0),
    )
    void, adjusted = notices_of(made[:2])
    assert (adjusted.quiz_id, adjusted.points_before, adjusted.points_after) == ("", 10, 7)
    assert (void.quiz_id, void.points_before, void.points_after) == ("rivers", 10, 0)


def test_changes_that_cancel_out_are_no_notice() -> None:
    made = rows(amendment(1, "SCORE_ADJUSTED", 5, quiz_id=""), amendment(2, "SCORE_ADJUSTED", -5, quiz_id=""))
    assert notices_of(made) == []
