"""Names of boards, their keys in Redis and the boards that an event moves. Pure: the time is always passed in."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import Literal, NamedTuple

from services.boards.periods.period import Period, month, month_of, month_start, parse_period, week, week_of, week_start

Kind = Literal["all", "weekly", "monthly", "country", "quiz", "custom"]

MAX_NAME_LENGTH = 100
GENERATION_KEY = "leaderboard:generation"
UNTIL_FREEZE = "_until_freeze"
"""The end of the name of a board's copy that stops counting at the freeze (see `freezing`). No definition has such a name."""

_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)
_QUIZ_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
# Name, country, and a year, a month, a day or a week. As in ISO 8601, the W distinguishes a week from a month.
_CUSTOM = re.compile(
    rf"([a-z][a-z0-9-]{{0,31}}(?:{UNTIL_FREEZE})?)(?::([A-Z]{{2}}))?"
    r"(?::([0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2})?|-W[0-9]{2})?))?",
    re.ASCII,
)


class Board(NamedTuple):
    """One board. `qualifier` is the period, country, quiz id or custom name; empty for the board of all time.

    `parse` and `boards_of` check what they make; the constructor does not. A tuple, because a board is hashed several
    times for every event.
    """

    kind: Kind
    qualifier: str = ""

    @classmethod
    def parse(cls, name: str, now: datetime) -> Board:
        """Return the board called `name`; a bare `weekly` or `monthly` is the board of the period of `now`.

        Names are `all`, `weekly`, `weekly:2026-47` (ISO year and week), `monthly`, `monthly:2026-11`, `country:VN`,
        `quiz:<id>`, and `custom:…` if it is well-formed (`Catalog.parse` checks that it is declared). Raises ValueError
        for anything else.
        """
        kind, colon, qualifier = name[: MAX_NAME_LENGTH + 1].partition(":")
        if len(name) <= MAX_NAME_LENGTH:
            if not colon and kind == "all":
                return cls("all")
            if not colon and kind == "weekly":
                return cls("weekly", week_of(now))
            if not colon and kind == "monthly":
                return cls("monthly", month_of(now))
            if kind == "weekly" and week_start(qualifier) is not None:
                return cls("weekly", qualifier)
            if kind == "monthly" and month_start(qualifier) is not None:
                return cls("monthly", qualifier)
            if kind == "country" and _COUNTRY.fullmatch(qualifier):
                return cls("country", qualifier)
            if kind == "quiz" and _QUIZ_ID.fullmatch(qualifier):
                return cls("quiz", qualifier)
            if kind == "custom" and parse_custom_name(qualifier) is not None:
                return cls("custom", qualifier)
        raise no_such_board(name)

    @property
    def name(self) -> str:
        """The full name, with its period: `weekly:2026-47`."""
        return f"{self.kind}:{self.qualifier}" if self.qualifier else self.kind

    @property
    def key(self) -> str:
        """The sorted set in Redis, or the prefix of its shards' keys (see `sharding`)."""
        return f"leaderboard:{self.name}"

    @property
    def is_until_freeze(self) -> bool:
        """Whether it is the copy of a board that stops counting at the freeze. Clients never name one."""
        return self.kind == "custom" and self.qualifier.partition(":")[0].endswith(UNTIL_FREEZE)

    @property
    def of_readers(self) -> Board:
        """The board under which readers know this one: itself, or the board of which it is a copy."""
        return Board(self.kind, self.qualifier.replace(UNTIL_FREEZE, "", 1)) if self.is_until_freeze else self


class CustomName(NamedTuple):
    """The qualifier of a custom board, taken apart. `country` and `period` are empty where it has none."""

    name: str
    country: str
    period: str


@lru_cache(maxsize=4096)
def parse_custom_name(qualifier: str) -> CustomName | None:
    """Take `<name>[:<country>][:<period>]` apart, with a period as `Calendar.name_of` writes it; None if malformed.

    A period that does not exist, such as week 60, passes: the catalog does not know it.
    """
    match = _CUSTOM.fullmatch(qualifier)
    return None if match is None else CustomName(match[1], match[2] or "", match[3] or "")


@lru_cache(maxsize=4096)
def period_of(board: Board) -> Period | None:
    """Return the period that a built-in board counts, or one that a week or month in UTC names; None for any other.

    `Catalog.period_of` knows those of boards that are defined otherwise.
    """
    if board.kind == "weekly":
        start = week_start(board.qualifier)
        if start is not None:
            return week(start)
    elif board.kind == "monthly":
        start = month_start(board.qualifier)
        if start is not None:
            return month(start)
    elif board.kind == "custom":
        custom = parse_custom_name(board.qualifier)
        return parse_period(custom.period) if custom is not None and custom.period else None
    return None


def boards_of(at: datetime, country: str, quiz_id: str) -> tuple[Board, ...]:
    """Return the built-in boards that an event moves: all, its week, its month, and its country's and quiz's, if any.

    `at` is the server's time of the event. Raises ValueError for an impossible country or quiz id.
    """
    boards = [Board("all"), Board("weekly", week_of(at)), Board("monthly", month_of(at))]
    if country:
        boards.append(Board.parse(f"country:{country}", at))
    if quiz_id:
        boards.append(Board.parse(f"quiz:{quiz_id}", at))
    return tuple(boards)


def no_such_board(name: str) -> ValueError:
    """Return the error for a name that no board has."""
    return ValueError(f"no board is named {name[:MAX_NAME_LENGTH]!r}")
