"""An event without a record is explained by a restore between its making and its row, whatever id its caller gave it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from services.runtime.clock import milliseconds_of
from services.runtime.uuid7 import first_uuid7
from services.score.ledger.store import EventKey
from services.score.service import was_counted_after_restore

RESTORED = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def key(event_id: str, made_at: datetime, counted_at: datetime) -> EventKey:
    return EventKey(event_id, "ada", "PLAYER_BLOCKED", milliseconds_of(made_at), milliseconds_of(counted_at))


@pytest.mark.parametrize("has_time", [True, False])
def test_only_an_event_on_both_sides_of_a_restore_is_explained_by_it(*, has_time: bool) -> None:
    def explained(made_at: datetime, counted_at: datetime) -> bool:
        event_id = first_uuid7(made_at) if has_time else str(uuid.uuid4())
        return was_counted_after_restore(key(event_id, made_at, counted_at), [RESTORED - 100 * HOUR, RESTORED])

    assert explained(RESTORED - HOUR, RESTORED + HOUR)
    assert not explained(RESTORED - 2 * HOUR, RESTORED - HOUR)
    assert not explained(RESTORED + HOUR, RESTORED + 2 * HOUR)


def test_nothing_is_explained_without_a_restore() -> None:
    assert not was_counted_after_restore(key(str(uuid.uuid4()), RESTORED, RESTORED + HOUR), [])
