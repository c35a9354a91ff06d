"""Frames as Server-Sent Events: exact bytes, one order, and no line break that a name could add."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from topten.leaderboard.v1.leaderboard_pb2 import Entry, Frame

from edge.stream.frames import Message, Position, encode_end, encode_heartbeat, encode_retry, encode_update

AT = 1_795_464_000  # 2026-11-23T20:00:00Z


def frame(
    version: int = 12, *, generation: int = 7, board: str = "all", stale: bool = False, name: str = "Ada"
) -> Frame:
    entries = [
        Entry(rank=1, user_id="u1", username=name, score=1500, country="VN", previous_rank=2),
        Entry(rank=2, user_id="u2", username="Bo", score=10, gap_to_next=1490),
    ]
    made = Frame(board=board, generation=generation, version=version, stale=stale, entries=entries)
    made.timestamp.FromMilliseconds(AT * 1000 + 7)
    return made


def test_an_update_is_encoded_as_documented() -> None:
    assert encode_update(frame()).message.plain == (
        b"event: update\nid: 7-12\n"
        b'data: {"timestamp":"2026-11-23T20:00:00.007Z","board":"all","version":12,"stale":false,'
        b'"frozenSince":null,"leaderboard":['
        b'{"rank":1,"userId":"u1","username":"Ada","score":1500,"country":"VN","previousRank":2,"gapToNext":null},'
        b'{"rank":2,"userId":"u2","username":"Bo","score":10,"country":null,"previousRank":null,"gapToNext":1490}]}\n\n'
    )


def test_end_heartbeat_and_retry_are_encoded_as_documented() -> None:
    assert encode_end("weekly:2026-46").plain == b'event: end\ndata: {"board":"weekly:2026-46"}\n\n'
    heartbeat = encode_heartbeat(datetime(2026, 11, 23, 20, tzinfo=UTC), timedelta(seconds=15))
    assert heartbeat.plain == b':\n\nevent: ping\ndata: {"timestamp":"2026-11-23T20:00:00.000Z","interval":15.0}\n\n'
    assert encode_retry(2500) == b"retry: 2500\n\n"


def test_a_chunk_starts_with_its_length_in_hexadecimal() -> None:
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
def test_a_position_survives_its_text_form(generation: int, version: int) -> None:
    position = Position(generation, version)
    assert Position.parse(str(position)) == position


@given(st.text(alphabet="0123456789-+ ٣x\n", max_size=50))
def test_any_text_parses_to_its_position_or_to_none(text: str) -> None:
    position = Position.parse(text)
    assert position is None or [int(part) for part in text.split("-")] == list(position)


@given(st.tuples(st.integers(1, 3), st.integers(1, 5)), st.tuples(st.integers(1, 3), st.integers(1, 5)))
def test_only_the_later_of_two_frames_follows_the_other(first: tuple[int, int], second: tuple[int, int]) -> None:
    earlier, later = (encode_update(frame(version, generation=generation)) for generation, version in (first, second))
    assert later.follows(earlier) == (second > first)


def test_the_same_frame_does_not_follow_itself() -> None:
    assert not encode_update(frame()).follows(encode_update(frame()))


def test_a_frame_follows_itself_when_its_staleness_changes() -> None:
    fresh, stale = encode_update(frame()), encode_update(frame(), stale=True)
    assert stale.follows(fresh)
    assert fresh.follows(stale)
    assert b'"stale":true' in stale.message.plain


def test_a_frame_follows_itself_when_its_board_freezes() -> None:
    frozen = frame()
    frozen.frozen_since.FromSeconds(AT)
    assert encode_update(frozen).follows(encode_update(frame()))
    assert encode_update(frame()).follows(encode_update(frozen))
    assert b'"frozenSince":"2026-11-23T20:00:00.000Z"' in encode_update(frozen).message.plain


def test_a_frame_follows_itself_when_a_username_becomes_known() -> None:
    assert encode_update(frame(name="Ada")).follows(encode_update(frame(name="")))


def test_an_older_frame_never_follows_even_a_stale_one() -> None:
    assert not encode_update(frame(11)).follows(encode_update(frame(12, stale=True)))


def test_the_first_frame_of_the_next_week_follows_the_last_of_this_week() -> None:
    last = encode_update(frame(500, board="weekly:2026-53"))
    first = encode_update(frame(1, board="weekly:2027-01"))
    assert first.follows(last)
    assert not last.follows(first)
