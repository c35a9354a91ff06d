"""One frame of a board as Server-Sent Events carry it: encoded once, for every connection.

Pure. The text holds no character at which any parser splits lines: JSON escapes the controls, and the three that it
leaves alone (NEL and the two Unicode separators, which some clients split at) are escaped here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import orjson
from topten.leaderboard.v1.leaderboard_pb2 import Entry, Frame
from topten.leaderboard.v1.leaderboard_service_pb2 import Standing

from edge.times import format_time, time_of

_POSITION = re.compile(r"([0-9]{1,18})-([0-9]{1,18})", re.ASCII)
_SPLITTERS = ((b"\xc2\x85", b"\\u0085"), (b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))


class Position(NamedTuple):
    """Where a frame stands among the frames of its board; its text is the id of the event."""

    generation: int
    version: int

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """The position that `text` (`<generation>-<version>`) names; None for anything else."""
        match = _POSITION.fullmatch(text or "")
        return cls(int(match[1]), int(match[2])) if match else None

    def __str__(self) -> str:
        return f"{self.generation}-{self.version}"


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes ready for a transport: `plain`, and `chunk`, the same as one chunk of HTTP/1.1."""

    plain: bytes
    chunk: bytes

    @classmethod
    def of(cls, plain: bytes) -> Self:
        """The message of an event's or comment's text."""
        return cls(plain, b"%x\r\n%b\r\n" % (len(plain), plain))


@dataclass(frozen=True, slots=True)
class Update:
    """A frame with its message."""

    frame: Frame
    position: Position
    stale: bool
    message: Message

    def follows(self, other: Update | None) -> bool:
        """Whether a reader who has `other` may and should be shown this: later, or as late and not the same.

        (A name may come to be known without a write to the board; a board may be stale, and not be any more.) A board
        that follows the calendar begins a new count with each period; periods are ordered by their names.
        """
        if other is None:
            return True
        mine = (self.frame.board, self.position)
        theirs = (other.frame.board, other.position)
        differs = self.stale != other.stale or self.frame.entries != other.frame.entries
        return mine > theirs or (mine == theirs and differs)


HEARTBEAT = Message.of(b":\n\n")


def encode_update(frame: Frame, *, stale: bool = False) -> Update:
    """The `update` event of a frame; `stale` marks it so whatever the frame says."""
    is_stale = frame.stale or stale
    position = Position(frame.generation, frame.version)
    data = {
        "timestamp": format_time(time_of(frame.timestamp)),
        "board": frame.board,
        "version": frame.version,
        "stale": is_stale,
        "leaderboard": [_entry(entry) for entry in frame.entries],
    }
    return Update(frame, position, is_stale, Message.of(_event("update", data, id=str(position))))


def encode_me(board: str, standing: Standing) -> Message:
    """The `me` event: where the reader himself stands. It has no id, so that a reader who comes back asks for frames."""
    data = {
        "board": board,
        "rank": standing.rank if standing.HasField("rank") else None,
        "score": standing.score,
        "previousRank": standing.previous_rank if standing.HasField("previous_rank") else None,
    }
    return Message.of(_event("me", data))


def encode_end(board: str) -> Message:
    """The `end` event: the named period has closed, and nothing more will come."""
    return Message.of(_event("end", {"board": board}))


def encode_retry(milliseconds: int) -> bytes:
    """After how long the client comes back when the stream ends."""
    return b"retry: %d\n\n" % milliseconds


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "rank": entry.rank,
        "userId": entry.user_id,
        "username": entry.username,
        "score": entry.score,
        "country": entry.country or None,
        "previousRank": entry.previous_rank if entry.HasField("previous_rank") else None,
    }


def _event(name: str, data: dict[str, Any], *, id: str = "") -> bytes:  # noqa: A002  # the field's name
    text = orjson.dumps(data)
    for character, escaped in _SPLITTERS:
        text = text.replace(character, escaped)
    return b"event: %b\n%bdata: %b\n\n" % (name.encode(), f"id: {id}\n".encode() if id else b"", text)
