"""The throttle: reads come at once, at most once a tick, and never miss the last change."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.leaderboard.watching.throttle import RETRY_SECONDS, Throttle

TICK, REREAD = 0.5, 5.0
ROUNDING = 1e-9


def quiet() -> Throttle:
    """A throttle after a read that showed nothing new."""
    throttle = Throttle(tick=TICK, reread=REREAD)
    throttle.begin()
    throttle.end(0.0, sent=False, complete=True)
    return throttle


def test_first_read_is_due_at_once() -> None:
    assert Throttle(tick=TICK, reread=REREAD).pause(123.0) == 0


def test_first_change_after_a_pause_is_read_at_once() -> None:
    throttle = quiet()
    throttle.mark()
    assert throttle.pause(1.0) == 0


def test_changes_after_a_frame_wait_for_the_tick() -> None:
    throttle = quiet()
    throttle.mark()
    throttle.begin()
    throttle.end(1.0, sent=True, complete=True)
    throttle.mark()
    assert throttle.pause(1.1) == TICK - (1.1 - 1.0)
    assert throttle.pause(1.0 + TICK) == 0


def test_read_that_showed_nothing_hardly_delays_the_next_change() -> None:
    throttle = quiet()
    throttle.mark()
    assert 0 < throttle.pause(0.0) <= TICK / 10


def test_board_is_read_again_without_an_announced_change() -> None:
    throttle = quiet()
    assert throttle.pause(0.0) == REREAD
    assert throttle.pause(REREAD) == 0


def test_failed_read_is_repeated_soon() -> None:
    throttle = quiet()
    throttle.begin()
    throttle.end(10.0, sent=True, complete=False)
    assert throttle.pause(10.0) == RETRY_SECONDS
    throttle.mark()
    assert throttle.pause(10.0) == TICK, "but not sooner than the tick, whatever changes meanwhile"


@given(st.lists(st.floats(0, 3), max_size=60), st.floats(0.001, 0.3), st.sampled_from([0.05, 0.1, 0.5]))
def test_frames_are_a_tick_apart_and_the_last_change_is_always_seen(
    gaps: list[float], reading: float, tick: float
) -> None:
    """A board changes at random moments, every change is visible, and each read takes `reading` seconds."""
    changes = [sum(gaps[: number + 1]) for number in range(len(gaps))]
    throttle = Throttle(tick=tick, reread=1e9)
    now, seen_until = 0.0, -1.0
    frames: list[float] = []
    pending = list(changes)
    while True:
        due = now + throttle.pause(now) if throttle.dirty else float("inf")
        if pending and pending[0] <= due:
            now = max(now, pending.pop(0))
            throttle.mark()
            continue
        if not throttle.dirty:
            break
        began = now = due
        throttle.begin()
        now += reading
        while pending and pending[0] <= now:
            pending.pop(0)
            throttle.mark()
        changed = any(seen_until < change <= began for change in changes)
        seen_until = began
        if changed or not frames:
            frames.append(now)
        throttle.end(now, sent=changed or len(frames) == 1, complete=True)
    assert all(later - earlier >= tick - ROUNDING for earlier, later in pairwise(frames))
    assert not changes or seen_until >= changes[-1]
    assert all(
        any(change - ROUNDING <= frame <= change + 2 * (tick + reading) + ROUNDING for frame in frames)
        for change in changes
    )
