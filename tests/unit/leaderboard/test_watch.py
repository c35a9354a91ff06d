"""The state of a watched board: what must be read, what is sent, and when it ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY

from services.boards.board import Board, period_of
from services.leaderboard.ranking import order
from services.leaderboard.reading.frames import Reading, frame_of
from services.leaderboard.reading.names import Name
from services.leaderboard.reading.results import Head
from services.leaderboard.watching.throttle import RETRY_SECONDS
from services.leaderboard.watching.watch import Watch, WatchLimits

TICK, REREAD, LINGER, CLOSING = 0.5, 5.0, 10.0, 10.0
LIMITS = WatchLimits(
    frame_size=3,
    tick=timedelta(seconds=TICK),
    reread=timedelta(seconds=REREAD),
    linger=timedelta(seconds=LINGER),
    closing=timedelta(seconds=CLOSING),
    max_watched=3,
)
ALL, WEEK = Board("all"), Board("weekly", "2026-47")
WEEK_ENDS = datetime(2026, 11, 23, tzinfo=UTC)
NOW = WEEK_ENDS - timedelta(hours=1)


def reading(version: int, values: dict[str, float], *, generation: int = 1, board: Board = ALL) -> Reading:
    members = order(values.items())[:3]
    names = {user_id: Name(user_id.upper(), "VN") for user_id in values}
    return Reading(frame_of(board, Head(generation, version, members, {}), NOW, names), members, has_all_names=True)


def shown(values: dict[str, float], *, board: Board = ALL, clock: float = 0.0) -> Watch:
    """A watch with one stream, which has just read these values as version 1."""
    watch = Watch(board, period_of(board), LIMITS, clock)
    watch.enter()
    watch.begin()
    watch.show(reading(1, values, board=board), [], clock)
    return watch


def scores(watch: Watch) -> dict[str, int]:
    assert watch.frame is not None
    return {entry.user_id: entry.score for entry in watch.frame.entries}


def stale_boards() -> float:
    return REGISTRY.get_sample_value("topten_board_stale") or 0.0


def test_new_watch_is_read_at_once() -> None:
    assert Watch(ALL, None, LIMITS, 0.0).pause(NOW, 0.0) == 0


def test_visible_change_is_read_and_one_below_the_head_is_not() -> None:
    watch = shown({"a": 30, "b": 20, "c": 10})
    watch.notice("d", 9, lowered=False)
    assert watch.pause(NOW, TICK) == REREAD - TICK
    assert watch.is_current
    watch.notice("d", 10, lowered=False)
    assert watch.due.is_set()
    assert watch.pause(NOW, TICK) == 0
    assert not watch.is_current


def test_change_announced_during_a_read_is_read_afterwards() -> None:
    """The read came before the change, and the head before the read suggests that the change cannot be seen."""
    watch = shown({"a": 30, "b": 20, "c": 10})
    watch.begin()
    watch.notice("d", 5, lowered=False)
    watch.show(reading(2, {"a": 30, "b": 20}), [], 1.0)
    assert not watch.is_current
    assert watch.pause(NOW, 1.0) == TICK


def test_board_is_read_again_periodically() -> None:
    watch = shown({"a": 30})
    assert watch.pause(NOW, 0.0) == REREAD
    assert watch.pause(NOW, REREAD) == 0


def test_only_a_difference_is_sent_but_the_newest_version_is_kept() -> None:
    watch = shown({"a": 30})
    changed = watch.changed
    watch.begin()
    watch.show(reading(2, {"a": 30}), [], 1.0)
    assert (watch.frames_sent, changed.is_set()) == (1, False)
    assert watch.frame is not None
    assert watch.frame.version == 2
    watch.begin()
    watch.show(reading(3, {"a": 31}), [], 2.0)
    assert (watch.frames_sent, changed.is_set(), scores(watch)) == (2, True, {"a": 31})


def test_unreadable_board_is_sent_stale_once_and_then_fresh() -> None:
    before = stale_boards()
    watch = shown({"a": 30})
    for _ in range(3):
        watch.begin()
        watch.fail("Redis did not answer in time", 1.0)
    assert watch.frame is not None
    assert (watch.frame.stale, watch.frame.version, watch.frames_sent) == (True, 1, 2)
    assert (stale_boards(), watch.is_current) == (before + 1, False)
    assert watch.pause(NOW, 1.0) == RETRY_SECONDS
    watch.begin()
    watch.show(reading(1, {"a": 30}), [], 2.0)
    assert (watch.frame.stale, watch.frames_sent, stale_boards()) == (False, 3, before)


def test_board_that_is_being_filled_is_stale_readable_and_not_over() -> None:
    before = stale_boards()
    watch = shown({"a": 30}, board=WEEK)
    watch.pause(WEEK_ENDS + timedelta(seconds=CLOSING), 1.0)
    states: list[tuple[int, dict[str, float]]] = [(2, {}), (3, {"b": 9})]
    for version, values in states:
        watch.begin()
        part = reading(version, values, board=WEEK)
        part.frame.stale = True
        watch.show(part, [], 1.0)
        assert (scores(watch), watch.is_current, watch.is_closed) == (values, False, False)
    assert stale_boards() == before, "it can be read"
    sent = watch.frames_sent
    watch.begin()
    watch.show(reading(3, {"b": 9}, board=WEEK), [], 2.0)
    assert (watch.frames_sent, watch.is_closed) == (sent + 1, True), "the whole is sent, though nothing was written"


def test_nothing_is_sent_before_the_first_read_succeeds() -> None:
    watch = Watch(ALL, None, LIMITS, 0.0)
    watch.begin()
    watch.fail("the boards are being rebuilt", 0.0)
    assert (watch.frame, watch.frames_sent) == (None, 0)
    watch.end()


def test_older_state_is_not_shown_until_a_new_generation() -> None:
    watch = shown({"a": 7})
    watch.begin()
    watch.show(reading(2, {"a": 9}), [], 1.0)
    watch.begin()
    watch.show(reading(1, {"a": 7}), [], 2.0)
    assert watch.frame is not None
    assert (watch.frame.version, watch.frame.stale, scores(watch)) == (2, True, {"a": 9})
    watch.begin()
    watch.show(reading(1, {"a": 8}, generation=2), [], 3.0)
    assert (watch.frame.generation, watch.frame.stale, scores(watch)) == (2, False, {"a": 8})


def test_end_of_the_period_wakes_streams_that_follow_the_calendar() -> None:
    watch = shown({"a": 7}, board=WEEK)
    assert not watch.is_over
    assert watch.pause(WEEK_ENDS - timedelta(seconds=1), 0.0) == 1
    changed = watch.changed
    watch.pause(WEEK_ENDS, 1.0)
    assert (watch.is_over, changed.is_set(), watch.is_closed) == (True, True, False)


def test_board_is_read_when_it_freezes_and_when_its_period_is_over() -> None:
    freezes_at = WEEK_ENDS - timedelta(minutes=10)
    watch = Watch(WEEK, period_of(WEEK), LIMITS, 0.0, freezes_at=freezes_at)
    watch.enter()
    for clock, now in enumerate((NOW, freezes_at, WEEK_ENDS), 1):
        assert watch.pause(now - timedelta(milliseconds=500), 100.0 * clock) in (0, 0.5)
        watch.begin()
        watch.show(reading(clock, {"a": 7}, board=WEEK), [], 100.0 * clock)
        assert watch.is_current
        watch.pause(now, 100.0 * clock + 1)
        assert watch.is_current is (now == NOW)


def test_board_closes_with_the_frame_that_is_read_after_its_closing_time() -> None:
    watch = shown({"a": 7}, board=WEEK)
    closing = WEEK_ENDS + timedelta(seconds=CLOSING)
    watch.begin()
    assert watch.pause(closing, 20.0) == 0
    watch.show(reading(2, {"a": 8}, board=WEEK), [], 20.0)
    assert not watch.is_closed, "that read began before the closing time"
    watch.begin()
    watch.fail("Redis did not answer in time", 21.0)
    assert not watch.is_closed, "the last frame is not read yet"
    watch.begin()
    watch.show(reading(3, {"a": 9}, board=WEEK), [], 22.0)
    assert (watch.is_closed, scores(watch)) == (True, {"a": 9})
    assert watch.is_done(22.0)


@pytest.mark.parametrize("streams", [0, 1])
def test_watch_ends_some_time_after_its_last_stream(streams: int) -> None:
    watch = shown({"a": 7})
    watch.enter()
    watch.leave(clock=20.0)
    for _ in range(1 - streams):
        watch.leave(clock=20.0)
    assert not watch.is_done(20.0 + LINGER - 0.1)
    assert watch.is_done(20.0 + LINGER) == (not streams)


def test_traces_of_a_change_are_those_of_the_read_that_shows_it() -> None:
    watch = shown({"a": 30, "b": 20, "c": 10})
    watch.notice("d", 5, lowered=False, causes=["below the head"])
    watch.notice("d", 50, lowered=False, causes=["visible"])
    assert watch.begin() == ["visible"]
    watch.show(reading(2, {"d": 50}), ["the read"], 1.0)
    assert watch.frame is not None
    assert list(watch.frame.traceparents) == ["the read"]
    assert watch.begin() == []
