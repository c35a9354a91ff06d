"""Frames are values: a stream may be sending one, so none ever changes."""

from datetime import UTC, datetime

from topten.leaderboard.v1.leaderboard_pb2 import Entry, Frame

from services.boards.board import Board
from services.leaderboard.reading.frames import cut, differs, frame_of, position, stale_copy
from services.leaderboard.reading.names import Name
from services.leaderboard.reading.results import Head

READ_AT = datetime(2026, 11, 23, 12, 0, 0, 5_000, UTC)


def a_frame(generation: int = 3, version: int = 8) -> Frame:
    head = Head(generation, version, [("ada", 7.5), ("bob", 7.25), ("eve", 1.0)], {"bob": 3})
    names = {"ada": Name("Ada", "VN"), "bob": Name("Bob", ""), "eve": Name("#eve", "", known=False)}
    return frame_of(Board("weekly", "2026-47"), head, READ_AT, names)


def test_frame_shows_what_was_read_and_when() -> None:
    frame = a_frame()
    assert (frame.board, position(frame), frame.stale) == ("weekly:2026-47", (3, 8), False)
    assert frame.timestamp.ToDatetime(UTC) == READ_AT
    assert list(frame.entries) == [
        Entry(rank=1, user_id="ada", username="Ada", score=7, country="VN"),
        Entry(rank=2, user_id="bob", username="Bob", score=7, previous_rank=3, gap_to_next=0),
        Entry(rank=3, user_id="eve", username="#eve", score=1, gap_to_next=6),
    ]


def test_cutting_a_frame_does_not_change_it() -> None:
    frame = a_frame()
    assert [entry.user_id for entry in cut(frame, 2).entries] == ["ada", "bob"]
    assert len(frame.entries) == 3
    assert cut(frame, 3) is frame


def test_stale_frame_is_a_copy_of_the_same_state() -> None:
    frame = a_frame()
    stale = stale_copy(frame)
    assert (stale.stale, frame.stale) == (True, False)
    stale.stale = False
    assert stale == frame


def test_frames_differ_by_what_they_show_not_by_version() -> None:
    frame = a_frame()
    assert differs(frame, None)
    assert not differs(a_frame(version=9), frame)
    assert differs(a_frame(generation=4), frame), "versions start again, so clients must learn the new generation"
    assert differs(stale_copy(frame), frame)
    renamed = a_frame()
    renamed.entries[2].username = "Eve"
    assert differs(renamed, frame)
