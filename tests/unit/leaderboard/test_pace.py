"""When a board is read: at once, at most once a tick, and never too late for the last change."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.leaderboard.pace import RETRY_SECONDS, Pace

TICK, REREAD = 0.5, 5.0
NEVER_LATE = 1e-9


def quiet_pace() -> Pace:
    """One that has just read, and shown nothing."""
    pace = Pace(tick=TICK, reread=REREAD)
    pace.begin()
    pace.end(0.0, sent=False, settled=True)
    return pace


def test_a_board_that_was_never_read_is_read_at_once() -> None:
    assert Pace(tick=TICK, reread=REREAD).pause(123.0) == 0


def test_the_first_change_after_a_pause_is_read_at_once() -> None:
    pace = quiet_pace()
    pace.mark()
    assert pace.pause(1.0) == 0


def test_changes_after_a_frame_wait_for_the_tick_to_end() -> None:
    pace = quiet_pace()
    pace.mark()
    pace.begin()
    pace.end(1.0, sent=True, settled=True)
    pace.mark()
    assert pace.pause(1.1) == TICK - (1.1 - 1.0)
    assert pace.pause(1.0 + TICK) == 0


def test_a_read_that_showed_nothing_hardly_delays_the_next_change() -> None:
    pace = quiet_pace()
    pace.mark()
    assert 0 < pace.pause(0.0) <= TICK / 10


def test_a_board_is_read_again_though_nobody_said_that_it_changed() -> None:
    pace = quiet_pace()
    assert pace.pause(0.0) == REREAD
    assert pace.pause(REREAD) == 0


def test_what_could_not_be_read_is_tried_again_soon() -> None:
    pace = quiet_pace()
    pace.begin()
    pace.end(10.0, sent=True, settled=False)
    assert pace.pause(10.0) == RETRY_SECONDS
    pace.mark()
    assert pace.pause(10.0) == TICK, "but no faster than the tick, however many updates come meanwhile"


@given(st.lists(st.floats(0, 3), max_size=60), st.floats(0.001, 0.3), st.sampled_from([0.05, 0.1, 0.5]))
def test_frames_keep_their_distance_and_the_last_change_is_always_seen(
    gaps: list[float], reading: float, tick: float
) -> None:
    """A board that changes at random moments, each change visible, each read taking `reading`."""
    changes = [sum(gaps[: number + 1]) for number in range(len(gaps))]
    pace = Pace(tick=tick, reread=1e9)
    now, seen_until = 0.0, -1.0
    frames: list[float] = []
    pending = list(changes)
    while True:
        due = now + pace.pause(now) if pace.dirty else float("inf")
        if pending and pending[0] <= due:
            now = max(now, pending.pop(0))
            pace.mark()
            continue
        if not pace.dirty:
            break
        begun = now = due
        pace.begin()
        now += reading
        while pending and pending[0] <= now:
            pending.pop(0)
            pace.mark()
        changed = any(seen_until < change <= begun for change in changes)
        seen_until = begun
        if changed or not frames:
            frames.append(now)
        pace.end(now, sent=changed or len(frames) == 1, settled=True)
    assert all(later - earlier >= tick - NEVER_LATE for earlier, later in pairwise(frames))
    assert not changes or seen_until >= changes[-1]
    assert all(
        any(change - NEVER_LATE <= frame <= change + 2 * (tick + reading) + NEVER_LATE for frame in frames)
        for change in changes
    )
