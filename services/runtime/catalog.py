"""The boards that there are: the built-in ones, and those that the operator declared.

A declared board counts a period for some countries, or for each country by itself:

    TOPTEN_BOARDS_DECLARED="asean=all,VN+TH+ID+MY; asean-week=weekly,VN+TH+ID+MY; week-by-country=weekly,country"

`custom:asean` is then a board, `custom:asean-week` the one of this week, `custom:asean-week:2026-47` that of a certain
one, and `custom:week-by-country:VN` Vietnam's of this week. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple, cast

from services.runtime.boards import Board, custom_parts, month_of, period, week_of
from services.runtime.split import Split

Span = Literal["all", "weekly", "monthly"]

MAX_DECLARED: Final = 32
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_COUNTRIES: Final = re.compile(r"[A-Z]{2}(\+[A-Z]{2}){0,249}", re.ASCII)
_EACH: Final = "country"


@dataclass(frozen=True)
class Declared:
    """A board that the operator declared: what it counts, and for whom.

    `countries` is whose players are on it, empty for everybody's; `each` says that each country has one of its own.
    """

    name: str
    span: Span
    countries: frozenset[str] = frozenset()
    each: bool = False

    def __str__(self) -> str:
        where = _EACH if self.each else "+".join(sorted(self.countries))
        return f"{self.name}={self.span}{',' if where else ''}{where}"

    def counts(self, country: str) -> bool:
        """Whether players of this country (empty is none) are on the board."""
        return bool(country) if self.each else not self.countries or country in self.countries

    def board(self, country: str, week: str, month: str) -> Board:
        """The board for players of `country` in the period, as the built-in boards name it."""
        parts = [self.name]
        if self.each:
            parts.append(country)
        if self.span == "weekly":
            parts.append(_iso_week(week))
        elif self.span == "monthly":
            parts.append(month)
        return Board("custom", ":".join(parts))


class Counted(NamedTuple):
    """Which total a custom board shows: the one of `period` as weekly and monthly boards name it, empty for all time."""

    declared: Declared
    country: str
    period: str


def parse_declared(text: str) -> tuple[Declared, ...]:
    """`<name>=<all|weekly|monthly>[,<countries joined by +>|,country]`, separated by semicolons. Raises ValueError."""
    found: dict[str, Declared] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, _, meaning = part.partition("=")
        span, _, where = meaning.partition(",")
        name, span, where = name.strip(), span.strip(), where.strip()
        if not _NAME.fullmatch(name) or span not in ("all", "weekly", "monthly"):
            raise ValueError(f"has {part[:60]!r}, which is not <name>=<all|weekly|monthly>[,<where>]")
        if where not in ("", _EACH) and not _COUNTRIES.fullmatch(where):
            raise ValueError(f"has {where[:60]!r}, which is neither `country` nor countries such as VN+TH")
        if name in found:
            raise ValueError(f"declares {name} twice")
        countries = frozenset() if where in ("", _EACH) else frozenset(where.split("+"))
        found[name] = Declared(name, cast("Span", span), countries, where == _EACH)
    if len(found) > MAX_DECLARED:
        raise ValueError(f"declares more than {MAX_DECLARED} boards")
    return tuple(found.values())


class Catalog:
    """All boards by name, and the keys that they are; `declared` are the operator's own."""

    def __init__(self, declared: Sequence[Declared] = (), split: Split | None = None) -> None:
        self.declared: Mapping[str, Declared] = {board.name: board for board in declared}
        self.split = split or Split()

    @classmethod
    def of(cls, text: str) -> Catalog:
        """The catalog that is this text. Raises ValueError."""
        declared, _, split = text.partition("|")
        return cls(parse_declared(declared), Split(split))

    def __str__(self) -> str:
        declared, split = "; ".join(sorted(map(str, self.declared.values()))), str(self.split)
        return f"{declared}|{split}" if split else declared

    def parse(self, text: str, now: datetime) -> Board:
        """The board that `text` names; one that leaves its period open is the one of `now`.

        Raises ValueError for what is no name, for a custom board that is not declared, and for one with a country or
        period that does not belong to it.
        """
        # A period is taken as the weekly boards have it, too.
        board = Board.parse(text, now)
        if board.kind != "custom":
            return board
        parts = custom_parts(board.qualifier)
        assert parts is not None, "the board was parsed"
        declared = self.declared.get(parts.name)
        if declared is None or bool(parts.country) != declared.each or (parts.period and declared.span == "all"):
            raise ValueError("no board has this name")
        week, month = week_of(now), month_of(now)
        if parts.period:
            week = month = parts.period.replace("W", "")
        if "W" in parts.period and declared.span != "weekly":
            raise ValueError("no board has this name")
        found = declared.board(parts.country, week, month)
        if declared.span != "all" and period(found) is None:
            raise ValueError("no board has this name")
        return found

    def follows_calendar(self, text: str) -> bool:
        """True for a name that means another board when its period is over."""
        if text in ("weekly", "monthly"):
            return True
        kind, _, qualifier = text.partition(":")
        parts = custom_parts(qualifier) if kind == "custom" else None
        declared = self.declared.get(parts.name) if parts is not None else None
        return declared is not None and declared.span != "all" and parts is not None and not parts.period

    def counted(self, board: Board) -> Counted | None:
        """Which total a custom board shows; None if it is not declared so (any more)."""
        parts = custom_parts(board.qualifier) if board.kind == "custom" else None
        declared = self.declared.get(parts.name) if parts is not None else None
        if parts is None or declared is None or bool(parts.country) != declared.each:
            return None
        span = "weekly" if "W" in parts.period else "monthly" if parts.period else "all"
        return Counted(declared, parts.country, parts.period.replace("W", "")) if span == declared.span else None

    def custom_boards(self, country: str, weeks: Sequence[str], months: Sequence[str]) -> Iterator[Board]:
        """Every declared board with players of `country` in these periods."""
        for declared in self.declared.values():
            if not declared.counts(country):
                continue
            if declared.span == "all":
                yield declared.board(country, "", "")
            elif declared.span == "weekly":
                yield from (declared.board(country, week, "") for week in weeks)
            else:
                yield from (declared.board(country, "", month) for month in months)

    def current(self, now: datetime) -> list[Board]:
        """The boards that there is one of at a time: all, this week's, this month's, and the declared ones like them."""
        declared = [board for board in self.declared.values() if not board.each]
        own = [board.board("", week_of(now), month_of(now)) for board in declared]
        return [Board("all"), Board("weekly", week_of(now)), Board("monthly", month_of(now)), *own]


def _iso_week(week: str) -> str:
    """`2026-47` as `2026-W47`."""
    year, _, number = week.partition("-")
    return f"{year}-W{number}"
