"""Action-to-screen latency, by a clock that the test moves."""

from __future__ import annotations

from topten.leaderboard.v1.leaderboard_pb2 import Entry, Frame

from edge.stream.latency import MAX_PLAYERS, ScreenLatency


def frame(**scores: int) -> Frame:
    return Frame(entries=[Entry(user_id=user_id, score=score) for user_id, score in scores.items()])


class Measurement:
    """A latency with its clock and its observations."""

    def __init__(self) -> None:
        self.time = 100.0
        self.observed: list[float] = []
        self.latency = ScreenLatency(now=lambda: self.time, observe=self.observed.append)


def test_latency_ends_with_the_first_frame_that_shows_the_new_score() -> None:
    measured = Measurement()
    measured.latency.action_accepted("ada", 10)
    measured.time += 0.2
    measured.latency.frame_written(frame(ada=5), frame(ada=5, bo=3))
    measured.time += 0.1
    measured.latency.frame_written(frame(ada=5), frame(ada=15))
    measured.latency.frame_written(frame(ada=15), frame(ada=25))
    assert [round(seconds, 3) for seconds in measured.observed] == [0.3]


def test_actions_without_points_or_shown_too_late_are_not_measured() -> None:
    measured = Measurement()
    measured.latency.action_accepted("ada", 0)
    measured.latency.action_accepted("bo", 10)
    measured.time += 60
    measured.latency.frame_written(frame(), frame(ada=5, bo=10))
    assert measured.observed == []


def test_a_player_who_keeps_playing_below_the_head_does_not_prolong_the_measurement() -> None:
    measured = Measurement()
    for _ in range(3):
        measured.latency.action_accepted("ada", 10)
        measured.time += 6
    measured.latency.frame_written(frame(ada=5), frame(ada=35))
    assert measured.observed == [6]


def test_pending_actions_are_bounded() -> None:
    measured = Measurement()
    for number in range(MAX_PLAYERS + 1):
        measured.latency.action_accepted(f"u{number}", 1)
    measured.latency.frame_written(frame(), frame(u0=1, u1=1))
    assert len(measured.observed) == 1


def test_actions_before_anybody_watched_the_board_are_not_measured() -> None:
    measured = Measurement()
    measured.latency.action_accepted("ada", 10)
    measured.time += 8
    measured.latency.frame_written(None, frame(ada=10))
    measured.latency.frame_written(frame(ada=10), frame(ada=15))
    assert measured.observed == []


def test_a_player_who_enters_the_head_is_measured_from_their_last_action() -> None:
    measured = Measurement()
    measured.latency.action_accepted("ada", 10)
    measured.time += 3
    measured.latency.action_accepted("ada", 10)
    measured.time += 0.25
    measured.latency.frame_written(frame(bo=5), frame(ada=20, bo=5))
    assert measured.observed == [0.25]
