"""Frames as Server-Sent Events, encoded once for all connections.

Pure. An event contains no character at which any parser splits lines: JSON escapes control characters, and the three it
leaves alone (NEL and the two Unicode separators, at which some clients split) are escaped here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self

import orjson
from topten.leaderboard.v1.leaderboard_pb2 import Entry, Frame
from topten.leaderboard.v1.leaderboard_service_pb2 import Standing

from edge.times import format_time, time_of

_POSITION = re.compile(r"([0-9]{1,18})-([0-9]{1,18})", re.ASCII)
_LINE_SEPARATORS = ((b"\xc2\x85", b"\\u0085"), (b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))


class Position(NamedTuple):
    """The order of a frame among the frames of its board; as text, the id of its event."""

    generation: int
    version: int

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Parse `<generation>-<version>`; None for any other text."""
        match = _POSITION.fullmatch(text or "")
        return cls(int(match[1]), int(match[2])) if match else None

    def __str__(self) -> str:
        return f"{self.generation}-{self.version}"


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes ready for a transport: `plain`, and the same as one HTTP/1.1 `chunk`."""

    plain: bytes
    chunk: bytes

    @classmethod
    def of(cls, plain: bytes) -> Self:
        """Encode an event or a comment for both transfer encodings."""
        return cls(plain, b"%x\r\n%b\r\n" % (len(plain), plain))


@dataclass(frozen=True, slots=True)
class Update:
    """A frame and its encoded event."""

    frame: Frame
    position: Position
    stale: bool
    message: Message

    def follows(self, other: Update | None) -> bool:
        """Return whether a client that has `other` should get this update: a later one, or a changed one of that position.

        A frame changes without a new version when a username becomes known, and when the board stops being stale or freezes. A
        board that follows the calendar starts new versions with each period; periods are ordered by name.
        """
        if other is None:
            return True
        differs = self.stale != other.stale or (self.frame.entries, self.frame.frozen_since) != (
            other.frame.entries,
            other.frame.frozen_since,
        )
        return self.order > other.order or (self.order == other.order and differs)

    @property
    def order(self) -> tuple[str, Position]:
        """The order of this update among those of one name of a board."""
        return self.frame.board, self.position


_COMMENT = Message.of(b":\n\n")


def encode_update(frame: Frame, *, stale: bool = False) -> Update:
    """Encode the `update` event of a frame; `stale` marks it as stale even if the frame is not."""
    is_stale = frame.stale or stale
    position = Position(frame.generation, frame.version)
    data = {
        "timestamp": format_time(time_of(frame.timestamp)),
        "board": frame.board,
        "version": frame.version,
        "stale": is_stale,
        "frozenSince": format_time(time_of(frame.frozen_since)) if frame.HasField("frozen_since") else None,
        "leaderboard": [_entry(entry) for entry in frame.entries],
    }
    return Update(frame, position, is_stale, Message.of(encode_event("update", data, id=str(position))))


def encode_me(board: str, standing: Standing) -> Message:
    """Encode the `me` event, the player's own standing. It has no id, because clients resume from frames."""
    data = {
        "board": board,
        "rank": standing.rank if standing.HasField("rank") else None,
        "score": standing.score,
        "previousRank": standing.previous_rank if standing.HasField("previous_rank") else None,
        "gapToNext": standing.gap_to_next if standing.HasField("gap_to_next") else None,
    }
    return Message.of(encode_event("me", data))


def encode_end(board: str) -> Message:
    """Encode the `end` event, the last one of a closed period."""
    return Message.of(encode_event("end", {"board": board}))


def encode_heartbeat(now: datetime, interval: timedelta) -> Message:
    """Encode a comment, which keeps proxies from closing the stream, and the event `ping`, which a page can see.

    `interval` is the time between two of them, in seconds. Without an id, because clients resume from frames.
    """
    ping = Message.of(encode_event("ping", {"timestamp": format_time(now), "interval": interval.total_seconds()}))
    return Message(_COMMENT.plain + ping.plain, _COMMENT.chunk + ping.chunk)


def encode_retry(milliseconds: int) -> bytes:
    """Encode the time after which a client reconnects."""
    return b"retry: %d\n\n" % milliseconds


def _entry(entry: Entry) -> dict[str, Any]:
    data = {
        "rank": entry.rank,
        "userId": entry.user_id,
        "username": entry.username,
        "score": entry.score,
        "country": entry.country or None,
        "previousRank": entry.previous_rank if entry.HasField("previous_rank") else None,
        "gapToNext": entry.gap_to_next if entry.HasField("gap_to_next") else None,
    }
    if entry.metadata:
        data["metadata"] = dict(entry.metadata)
    return data


def encode_event(name: str, data: dict[str, Any], *, id: str = "") -> bytes:  # noqa: A002  # the field's name
    """Encode an event with JSON data in one line."""
    text = orjson.dumps(data)
    for character, escaped in _LINE_SEPARATORS:
        text = text.replace(character, escaped)
    return b"event: %b\n%bdata: %b\n\n" % (name.encode(), f"id: {id}\n".encode() if id else b"", text)
