"""From an accepted action to the screen."""

from __future__ import annotations

from topten.leaderboard.v1.leaderboard_pb2 import Entry, Frame

from edge.stream.latency import MAX_WAITING, ScreenClock


def frame(**scores: int) -> Frame:
    return Frame(entries=[Entry(user_id=user_id, score=score) for user_id, score in scores.items()])


class Watch:
    def __init__(self) -> None:
        self.time = 100.0
        self.seen: list[float] = []
        self.clock = ScreenClock(now=lambda: self.time, observe=self.seen.append)


def test_the_time_runs_until_the_first_frame_in_which_the_score_differs() -> None:
    watch = Watch()
    watch.clock.accepted("ada", 10)
    watch.time += 0.2
    watch.clock.shown(frame(ada=5), frame(ada=5, bo=3))
    watch.time += 0.1
    watch.clock.shown(frame(ada=5), frame(ada=15))
    watch.clock.shown(frame(ada=15), frame(ada=25))
    assert [round(seconds, 3) for seconds in watch.seen] == [0.3]


def test_what_changes_no_score_or_is_never_shown_is_not_measured() -> None:
    watch = Watch()
    watch.clock.accepted("ada", 0)
    watch.clock.accepted("bo", 10)
    watch.time += 60
    watch.clock.shown(None, frame(ada=5, bo=10))
    assert watch.seen == []


def test_what_waits_is_bounded() -> None:
    watch = Watch()
    for number in range(MAX_WAITING + 1):
        watch.clock.accepted(f"u{number}", 1)
    watch.clock.shown(None, frame(u0=1, u1=1))
    assert len(watch.seen) == 1


def test_who_comes_into_the_head_came_by_his_last_action() -> None:
    watch = Watch()
    watch.clock.accepted("ada", 10)
    watch.time += 3
    watch.clock.accepted("ada", 10)
    watch.time += 0.25
    watch.clock.shown(frame(bo=5), frame(ada=20, bo=5))
    assert watch.seen == [0.25]
