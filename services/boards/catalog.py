"""The catalog of boards: the built-in ones, those that the operator declared, and those that teams defined. Pure.

A declared board counts one period for some countries, or for each country separately:

    TOPTEN_BOARDS_DECLARED="asean=all,VN+TH+ID+MY; asean-week=weekly,VN+TH+ID+MY; week-by-country=weekly,country"

adds the boards `custom:asean`, `custom:asean-week` (the current week; `custom:asean-week:2026-W47` is a certain one) and
`custom:week-by-country:VN` (the current week of Vietnam). See `definition` for what others may count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from services.boards.board import Board, no_such_board, parse_custom_name
from services.boards.board import period_of as built_in_period_of
from services.boards.definition import NAME, Definition, with_copies
from services.boards.periods.period import Period, month_of, week_of
from services.boards.sharding import Sharding
from services.runtime.clock import milliseconds_of

MAX_DECLARATIONS: Final = 32
_COUNTRIES: Final = re.compile(r"[A-Z]{2}(\+[A-Z]{2}){0,249}", re.ASCII)
_PER_COUNTRY: Final = "country"
_WEEK_OF_BUILT_IN: Final = re.compile(r"([0-9]{4})-([0-9]{2})", re.ASCII)


def parse_declarations(text: str) -> tuple[Definition, ...]:
    """Parse `<name>=<all|weekly|monthly>[,<countries joined by +>|,country]`, separated by semicolons.

    Raises ValueError.
    """
    definitions: dict[str, Definition] = {}
    for entry in filter(None, (entry.strip() for entry in text.split(";"))):
        name, _, meaning = entry.partition("=")
        span, _, where = meaning.partition(",")
        name, span, where = name.strip(), span.strip(), where.strip()
        if not NAME.fullmatch(name) or span not in ("all", "weekly", "monthly"):
            raise ValueError(f"has {entry[:60]!r}, which is not <name>=<all|weekly|monthly>[,<where>]")
        if where not in ("", _PER_COUNTRY) and not _COUNTRIES.fullmatch(where):
            raise ValueError(f"has {where[:60]!r}, which is neither `country` nor countries such as VN+TH")
        if name in definitions:
            raise ValueError(f"declares {name} twice")
        segment = "all" if not where else "each-country" if where == _PER_COUNTRY else _segment(where)
        definitions[name] = Definition(name, period=span, segment=segment, declared=True)
    if len(definitions) > MAX_DECLARATIONS:
        raise ValueError(f"declares more than {MAX_DECLARATIONS} boards")
    return tuple(definitions.values())


class Catalog:
    """All boards, and the sharding of their keys.

    `edition` is the one of the definitions that teams made, and `numbers` the highest number that a counter was ever given.
    `is_complete` is False until these definitions are known: a custom board that is not found may exist all the same.
    """

    def __init__(
        self,
        declared: Sequence[Definition] = (),
        sharding: Sharding | None = None,
        defined: Iterable[Definition] = (),
        *,
        edition: int = 0,
        numbers: int = 0,
        is_complete: bool = True,
    ) -> None:
        self.sharding = sharding or Sharding()
        self._declared = {each.name: each for each in declared}
        self.update(defined, edition=edition, numbers=numbers)
        self.is_complete = is_complete

    @classmethod
    def from_text(cls, text: str, defined: Iterable[Definition] = (), *, edition: int = 0, numbers: int = 0) -> Catalog:
        """Parse the `str` of a catalog. Raises ValueError."""
        declared, _, sharding = text.partition("|")
        return cls(parse_declarations(declared), Sharding(sharding), defined, edition=edition, numbers=numbers)

    def __str__(self) -> str:
        """The operator's part: declarations and sharding."""
        declared, sharding = "; ".join(sorted(map(_declaration, self._declared.values()))), str(self.sharding)
        return f"{declared}|{sharding}" if sharding else declared

    def update(self, defined: Iterable[Definition], *, edition: int, numbers: int) -> None:
        """Replace the definitions that teams made. A board that the operator declares has precedence.

        What is `counted` includes the copies of boards with a freeze, which have no name for clients.
        """
        self.definitions: Mapping[str, Definition] = {**{each.name: each for each in defined}, **self._declared}
        self.counted = tuple(with_copies(self.definitions.values()))
        self._all = {**{each.name: each for each in self.counted}, **self.definitions}
        self.archiving = tuple(each for each in self.definitions.values() if each.is_archiving)
        self.edition = edition
        self.numbers = numbers
        self.is_complete = True

    def parse(self, name: str, now: datetime) -> Board:
        """Return the board called `name`; a name without its period is the board of the period of `now`.

        Raises ValueError for an impossible name, a custom board that is not defined, and a country or period that does not
        fit the definition.
        """
        board = Board.parse(name, now)
        if board.kind != "custom":
            return board
        custom = parse_custom_name(board.qualifier)
        assert custom is not None, "the board was parsed"
        definition = self.definitions.get(custom.name)
        if definition is None or bool(custom.country) != definition.is_per_country:
            raise no_such_board(name)
        calendar, at = definition.calendar, milliseconds_of(now)
        if custom.period:
            period = custom.period
            if calendar.rule == "weekly":  # a week is accepted as the weekly boards write it, too
                period = _WEEK_OF_BUILT_IN.sub(r"\1-W\2", period)
            if calendar.period(period) is None:
                raise no_such_board(name)
        elif not calendar.is_repeated:
            period = ""
        elif calendar.counts(at):
            period = calendar.name_of(at)
        else:
            raise no_such_board(name)
        return definition.board(custom.country, period)

    def follows_calendar(self, name: str) -> bool:
        """Whether the name means another board as soon as the current period is over."""
        if name in ("weekly", "monthly"):
            return True
        kind, _, qualifier = name.partition(":")
        custom = parse_custom_name(qualifier) if kind == "custom" else None
        if custom is None or custom.period:
            return False
        definition = self.definitions.get(custom.name)
        return definition is not None and definition.calendar.is_repeated

    def definition_of(self, board: Board) -> Definition | None:
        """Return the definition of a custom board; None for another, or if it is not, or no longer, defined."""
        custom = parse_custom_name(board.qualifier) if board.kind == "custom" else None
        definition = self._all.get(custom.name) if custom is not None else None
        if custom is None or definition is None or bool(custom.country) != definition.is_per_country:
            return None
        if not definition.calendar.is_repeated:
            return None if custom.period else definition
        return None if definition.calendar.period(custom.period) is None else definition

    def period_of(self, board: Board) -> Period | None:
        """Return the period that the board counts; None for a board of all time."""
        definition = self.definition_of(board)
        if definition is None:
            return built_in_period_of(board)
        custom = parse_custom_name(board.qualifier)
        assert custom is not None, "a defined board is a custom one"
        return definition.calendar.period(custom.period)

    def is_ascending(self, board: Board) -> bool:
        """Whether less is better on the board."""
        definition = self.definition_of(board)
        return definition is not None and definition.is_ascending

    def title_of(self, board: Board) -> str:
        """Return the title of a defined board; empty if it has none, or is another."""
        definition = self.definition_of(board)
        return "" if definition is None else definition.title

    def ranks_teams(self, board: Board) -> bool:
        """Whether the entries of the board are teams."""
        definition = self.definition_of(board)
        return definition is not None and definition.teams is not None

    def has_roster(self, board: Board) -> bool:
        """Whether identity lists who is on the board: teams, or the members of a group."""
        definition = self.definition_of(board)
        return definition is not None and definition.has_roster

    def current(self, now: datetime) -> list[Board]:
        """Return the boards of which there is one at a time: all, this week's, this month's, and defined ones."""
        boards = [Board("all"), Board("weekly", week_of(now)), Board("monthly", month_of(now))]
        at = milliseconds_of(now)
        boards += (
            each.board("", each.calendar.name_of(at))
            for each in self.counted
            if not each.stops_before and not each.is_per_country and each.calendar.counts(at)
        )
        return boards

    def latest_end(self, by: datetime) -> datetime:
        """Return when the latest period of any board ended that was over by a time."""
        starts = [built_in_period_of(Board("weekly", week_of(by))), built_in_period_of(Board("monthly", month_of(by)))]
        ends = [period.starts_at for period in starts if period is not None]
        ends += [end for each in self.counted if (end := each.calendar.latest_end(by)) is not None]
        return max(ends)


def _segment(where: str) -> str:
    return f"country:{','.join(sorted(set(where.split('+'))))}"


def _declaration(definition: Definition) -> str:
    where = _PER_COUNTRY if definition.is_per_country else "+".join(sorted(definition.countries))
    return f"{definition.name}={definition.period}{',' if where else ''}{where}"
