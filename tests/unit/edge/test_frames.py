"""Frames as Server-Sent Events: exact bytes, one order, nothing that a parser could split."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from topten.leaderboard.v1.leaderboard_pb2 import Entry, Frame

from edge.stream.frames import HEARTBEAT, Message, Position, encode_end, encode_retry, encode_update

AT = 1_795_464_000  # 2026-11-23T20:00:00Z


def frame(
    version: int = 12, *, generation: int = 7, board: str = "all", stale: bool = False, name: str = "Ada"
) -> Frame:
    entries = [
        Entry(rank=1, user_id="u1", username=name, score=1500, country="VN", previous_rank=2),
        Entry(rank=2, user_id="u2", username="Bo", score=10),
    ]
    made = Frame(board=board, generation=generation, version=version, stale=stale, entries=entries)
    made.timestamp.FromMilliseconds(AT * 1000 + 7)
    return made


def test_an_update_is_these_bytes() -> None:
    assert encode_update(frame()).message.plain == (
        b"event: update\nid: 7-12\n"
        b'data: {"timestamp":"2026-11-23T20:00:00.007Z","board":"all","version":12,"stale":false,"leaderboard":['
        b'{"rank":1,"userId":"u1","username":"Ada","score":1500,"country":"VN","previousRank":2},'
        b'{"rank":2,"userId":"u2","username":"Bo","score":10,"country":null,"previousRank":null}]}\n\n'
    )


def test_the_end_the_heartbeat_and_the_retry_are_these_bytes() -> None:
    assert encode_end("weekly:2026-46").plain == b'event: end\ndata: {"board":"weekly:2026-46"}\n\n'
    assert HEARTBEAT.plain == b":\n\n"
    assert encode_retry(2500) == b"retry: 2500\n\n"


def test_a_chunk_says_its_length_in_hexadecimal() -> None:
    assert Message.of(b"x" * 26).chunk == b"1a\r\n" + b"x" * 26 + b"\r\n"


@given(st.text(max_size=80))
def test_no_name_adds_a_line_to_an_event(name: str) -> None:
    name = name.encode("utf-8", "replace").decode()
    text = encode_update(frame(name=name)).message.plain.decode()
    # str.splitlines splits at more than the standard's CR and LF, as some clients do.
    lines = text.splitlines()
    assert len(lines) == 4
    assert lines[3] == ""
    assert json.loads(lines[2].removeprefix("data: "))["leaderboard"][0]["username"] == name


@given(st.integers(0, 10**18 - 1), st.integers(0, 10**18 - 1))
def test_a_position_is_read_back_from_its_text(generation: int, version: int) -> None:
    position = Position(generation, version)
    assert Position.parse(str(position)) == position


@given(st.text(alphabet="0123456789-+ ٣x\n", max_size=50))
def test_no_text_breaks_the_reading_of_a_position(text: str) -> None:
    position = Position.parse(text)
    assert position is None or [int(part) for part in text.split("-")] == list(position)


@given(st.tuples(st.integers(1, 3), st.integers(1, 5)), st.tuples(st.integers(1, 3), st.integers(1, 5)))
def test_of_two_frames_only_the_later_one_follows(first: tuple[int, int], second: tuple[int, int]) -> None:
    earlier, later = (encode_update(frame(version, generation=generation)) for generation, version in (first, second))
    assert later.follows(earlier) == (second > first)


def test_the_same_frame_does_not_follow_itself() -> None:
    assert not encode_update(frame()).follows(encode_update(frame()))


def test_a_frame_that_became_stale_and_one_that_is_not_any_more_are_news() -> None:
    fresh, stale = encode_update(frame()), encode_update(frame(), stale=True)
    assert stale.follows(fresh)
    assert fresh.follows(stale)
    assert b'"stale":true' in stale.message.plain


def test_a_name_that_came_to_be_known_is_news() -> None:
    assert encode_update(frame(name="Ada")).follows(encode_update(frame(name="")))


def test_a_lower_frame_never_follows_even_where_the_higher_one_was_stale() -> None:
    assert not encode_update(frame(11)).follows(encode_update(frame(12, stale=True)))


def test_the_first_frame_of_the_next_week_follows_the_last_of_this() -> None:
    this = encode_update(frame(500, board="weekly:2026-53"))
    following = encode_update(frame(1, board="weekly:2027-01"))
    assert following.follows(this)
    assert not this.follows(following)
