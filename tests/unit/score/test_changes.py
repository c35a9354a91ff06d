"""Moderators' and account events in a chain: voids, adjustments, blocks, country changes, erasures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from topten.identity.v1 import identity_events_pb2
from topten.quiz.v1 import quiz_events_pb2

from services.boards.proofs.pseudonyms import pseudonym_of
from services.runtime.clock import milliseconds_of
from services.score.errors import UnprocessableError
from services.score.ingest.decoding import decode
from services.score.ledger.events import Change, Event
from services.score.ledger.folds.fold import Fold, apply, empty_fold, next_row
from services.score.ledger.history import History
from services.score.ledger.personal_data_digests import PersonalDataDigests
from services.score.ledger.rows import Row, row_hash
from services.score.ledger.totals import Total
from services.streams import (
    ACTION_VOIDED,
    COUNTRY_CHANGED,
    PLAYER_BLOCKED,
    PLAYER_ERASED,
    PLAYER_UNBLOCKED,
    SCORE_ADJUSTED,
)

AT = datetime(2026, 11, 18, 12, tzinfo=UTC)
DIGESTS = PersonalDataDigests(b"s" * 32)


def answered(number: int, delta: int, *, at: datetime = AT, attempt: int = 1, country: str = "VN") -> Event:
    return Event(f"e{number}", "ada", "q", delta, milliseconds_of(at), f"a{number}", attempt, delta, country)


def changed(version: int, kind: str, *, country: str = "VN") -> Event:
    change = Change("moderator", "why", version, blocked=kind == PLAYER_BLOCKED)
    return Event(f"c{version}", "ada", "", 0, milliseconds_of(AT), "", 0, 0, country, kind=kind, change=change)


def counted(events: Sequence[Event]) -> tuple[Fold, list[Row]]:
    fold, rows = empty_fold("ada"), list[Row]()
    for event in events:
        rows.append(next_row(fold, event, event.at, history=History(rows, is_all=True)))
        fold = apply(fold, rows[-1])
        assert rows[-1].hash == row_hash(rows[-1])
    return fold, rows


def test_void_acts_on_the_period_and_quiz_of_its_action() -> None:
    last_week = AT - timedelta(days=7)
    void = Event(
        "v", "ada", "q", -40, milliseconds_of(last_week), "a1", 3, 5, kind=ACTION_VOIDED, change=Change("m", "cheat")
    )
    fold, rows = counted([answered(1, 40, at=last_week), answered(2, 5, attempt=2), void])
    assert fold.total.points == 5
    assert {week: total.points for week, total in fold.weeks.items()} == {"2026-46": 0, "2026-47": 5}
    assert fold.quizzes["q"].points == 5
    assert rows[-1].change == Change("m", "cheat")


def test_adjustment_has_no_quiz_and_sets_no_country() -> None:
    given_points = Event(
        "j", "ada", "", 25, milliseconds_of(AT), "a", 0, 0, kind=SCORE_ADJUSTED, change=Change("m", "prize")
    )
    fold, _ = counted([given_points, answered(1, 10)])
    assert (fold.total.points, fold.weeks["2026-47"].points, fold.country) == (35, 35, "VN")
    assert set(fold.quizzes) == {"q"}


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_latest_account_change_wins_in_any_order(order: tuple[int, ...]) -> None:
    changes = [
        changed(1, PLAYER_BLOCKED),
        changed(2, PLAYER_UNBLOCKED),
        changed(3, COUNTRY_CHANGED, country="DE"),
    ]
    fold, _ = counted([answered(1, 10), *(changes[number] for number in order)])
    assert (fold.hidden, fold.country, fold.version) == (False, "DE", 3)
    assert fold.total == Total((10, milliseconds_of(AT)))


def test_block_changes_no_total() -> None:
    before, _ = counted([answered(1, 10)])
    after, _ = counted([answered(1, 10), changed(1, PLAYER_BLOCKED)])
    assert after.hidden
    assert (after.total, after.weeks, after.months, after.quizzes) == (
        before.total,
        before.weeks,
        before.months,
        before.quizzes,
    )


def test_country_change_row_names_the_former_country() -> None:
    fold, rows = counted([answered(1, 10), changed(1, COUNTRY_CHANGED, country="DE"), answered(2, 5, attempt=2)])
    assert [row.moved_from for row in rows] == ["", "VN", ""]
    assert fold.country == "DE"


def test_removed_country_does_not_return_with_a_later_event() -> None:
    fold, _ = counted([changed(1, COUNTRY_CHANGED, country=""), answered(1, 10)])
    assert fold.country == ""


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 50)), max_size=40))
def test_recent_activity_covers_the_latest_two_minutes(acts: list[tuple[int, int]]) -> None:
    acts = sorted(acts)
    events = [answered(n, delta, at=AT + timedelta(seconds=second)) for n, (second, delta) in enumerate(acts)]
    recent = counted(events)[0].recent
    last = acts[-1][0] // 60 if acts else 0
    for minute, actions, points in (
        (last, recent.actions, recent.points),
        (last - 1, recent.actions_before, recent.points_before),
    ):
        deltas = [delta for second, delta in acts if second // 60 == minute]
        assert (actions, points) == (len(deltas), sum(deltas))


def test_moderator_and_account_events_are_decoded() -> None:
    void = quiz_events_pb2.ActionVoidedEvent(event_id="v", event_type=ACTION_VOIDED)
    void.payload.user_id, void.payload.quiz_id, void.payload.score_delta = "ada", "q", -5
    void.payload.attempt, void.payload.quiz_total, void.payload.voided_event_id = 3, 7, "e1"
    void.payload.timestamp.FromDatetime(AT)
    void.payload.actor, void.payload.reason = "m", "cheat"
    event = decode(void.SerializeToString(), sequence=4, partition=1, digests=DIGESTS)
    assert (event.kind, event.delta, event.attempt, event.quiz_total) == (ACTION_VOIDED, -5, 3, 7)
    assert event.change == Change("m", "cheat", voids="e1", digest=DIGESTS.change("ada", "m", "cheat"))

    player = identity_events_pb2.PlayerChangedEvent(event_id="b", event_type=PLAYER_BLOCKED)
    player.payload.user_id, player.payload.version, player.payload.blocked = "ada", 4, True
    player.payload.timestamp.FromDatetime(AT)
    player.payload.country = "DE"
    event = decode(player.SerializeToString(), sequence=4, partition=1, digests=DIGESTS)
    assert (event.kind, event.country, event.change) == (
        PLAYER_BLOCKED,
        "DE",
        Change("", "", 4, blocked=True, digest=DIGESTS.change("ada", "", "")),
    )

    player.payload.version = 0
    with pytest.raises(UnprocessableError):
        decode(player.SerializeToString(), sequence=4, partition=1, digests=DIGESTS)


def test_erasure_hides_permanently_and_the_chain_stays_valid_without_names() -> None:
    chain = DIGESTS.chain("ada")
    erasure = changed(2, PLAYER_ERASED, country="")
    erasure = erasure._replace(
        change=Change("ada", "request", 2, blocked=True, digest=DIGESTS.change("ada", "ada", "request"))
    )
    fold, rows = empty_fold("ada", chain), []
    for event in (answered(1, 40), erasure, changed(9, PLAYER_UNBLOCKED), answered(2, 5, attempt=2)):
        rows.append(next_row(fold, event, event.at))
        fold = apply(fold, rows[-1])
    assert (fold.erased, fold.hidden, fold.country, fold.total.points) == (True, True, "", 45)
    assert [row.user_id for row in rows[2:]] == [pseudonym_of(chain)] * 2
    nameless = [
        row._replace(user_id="", change=row.change and row.change._replace(actor="", reason="")) for row in rows
    ]
    assert all(row.hash == row_hash(row) for row in nameless)
    assert DIGESTS.chain(pseudonym_of(chain)) == chain != PersonalDataDigests(b"t" * 32).chain("ada")
