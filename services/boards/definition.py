"""Definitions of boards: what a board counts, who is on it and in which order. Pure.

Teams make definitions while the system runs; the operator's declarations are definitions too. The *counter* of a definition is
what the ledger keeps for each player: sources, aggregate, period and zone. Segment and order say who is on the board, and
where. Boards with the same counter share its totals.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple, cast, get_args

from services.boards.board import UNTIL_FREEZE, Board
from services.boards.encoding import EPOCH
from services.boards.periods.calendar import Calendar, nominal_seconds
from services.boards.periods.period import Period
from services.countries import COUNTRIES

Aggregate = Literal["sum", "best", "latest", "count"]
Order = Literal["desc", "asc"]
State = Literal["building", "ready", "archived"]
Visibility = Literal["public", "members", "moderators"]
Ranks = Literal["unique", "competition", "dense"]
TeamMethod = Literal["sum", "mean", "best"]

DEFINITIONS: Final = "definitions"
"""The collection of the database `boards`, and the id of the document in it that has all definitions."""
MAX_SOURCES: Final = 20
MAX_TITLE: Final = 100
MAX_SIZE: Final = 1_000_000
MAX_BEST_OF: Final = 500
MAX_DENSE_SIZE: Final = 1000
"""Dense ranks are counted over a whole board, which is read for it."""
NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_TAG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)
_SOURCE: Final = re.compile(
    rf"all|quiz:[a-z0-9][a-z0-9-]{{0,63}}|action:[a-z0-9][a-z0-9._-]{{0,63}}|tag:{_TAG.pattern}", re.ASCII
)
_COUNTRIES: Final = re.compile(r"country:([A-Z]{2}(?:,[A-Z]{2}){0,249})", re.ASCII)
_EACH_COUNTRY: Final = "each-country"
_GROUP: Final = re.compile(r"group:([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})", re.ASCII)
_TEAMS: Final = re.compile(r"teams:(?:(sum|mean)|best:([1-9][0-9]{0,2}))", re.ASCII)
_BUILT_IN_CALENDARS: Final = frozenset(map(Calendar, ("all", "weekly", "monthly")))


class TeamScore(NamedTuple):
    """How the points of a team's members become its score; `best_of` is how many count for `best`, else 0."""

    method: TeamMethod
    best_of: int = 0


class CounterSpec(NamedTuple):
    """What the ledger counts for a player. `lowest` is whether fewer points are the better ones of `best`."""

    sources: frozenset[str]
    aggregate: Aggregate
    lowest: bool
    calendar: Calendar

    @property
    def is_built_in(self) -> bool:
        """Whether rows have always had it: all points, of all time or of a week or month in UTC."""
        is_of_all = self.sources == {"all"} and self.aggregate == "sum"
        return is_of_all and self.calendar in _BUILT_IN_CALENDARS

    def __str__(self) -> str:
        aggregate = f"lowest {self.aggregate}" if self.lowest else self.aggregate
        return f"{aggregate} of {','.join(sorted(self.sources))} {self.calendar.rule} {self.calendar.zone}"


@dataclass(frozen=True)
class Definition:
    """A board's definition. `number` is the one of its counter in rows, 0 if that is a built-in one.

    `declared` boards are the operator's. `version` counts the changes from 1. `kept` is whether the last state of every board
    of an archived definition is in the archive.

    `freezes_before` is how many seconds before the end of its period the board freezes, 0 for never. `freeze_changes` counts
    the changes of it. `freeze_number` and `freeze_state` are number and state of the copy that stops counting then, which
    alone has `stops_before`.

    A `segment` of teams or of a group says how the board is shown, and nothing that is counted: all players are.
    """

    name: str
    title: str = ""
    sources: tuple[str, ...] = ("all",)
    aggregate: Aggregate = "sum"
    order: Order = "desc"
    period: str = "all"
    time_zone: str = "UTC"
    segment: str = "all"
    visibility: Visibility = "public"
    size: int = 0
    ranks: Ranks = "unique"
    number: int = 0
    state: State = "ready"
    version: int = 1
    declared: bool = False
    archived_at: datetime | None = None
    kept: bool = False
    freezes_before: int = 0
    freeze_changes: int = 0
    freeze_number: int = 0
    freeze_state: State = "ready"
    stops_before: int = 0

    @cached_property
    def calendar(self) -> Calendar:
        """The periods of the board."""
        return Calendar(self.period, self.time_zone, self.stops_before)

    @cached_property
    def counter(self) -> CounterSpec:
        """What is counted for each player."""
        lowest = self.aggregate == "best" and self.order == "asc"
        return CounterSpec(frozenset(self.sources), self.aggregate, lowest, self.calendar)

    @cached_property
    def until_freeze(self) -> Definition | None:
        """The copy of the board that stops counting at the freeze; None without a freeze. See `freezing`."""
        if not self.freezes_before:
            return None
        return replace(
            self,
            name=f"{self.name}{UNTIL_FREEZE}",
            number=self.freeze_number,
            state=self.freeze_state,
            freezes_before=0,
            stops_before=self.freezes_before,
        )

    @property
    def is_ascending(self) -> bool:
        """Whether less is better."""
        return self.order == "asc"

    @property
    def is_archiving(self) -> bool:
        """Whether nothing is counted any more and the archive lacks the last state: rebuilds have to fill its boards."""
        return self.state == "archived" and not self.kept

    @cached_property
    def teams(self) -> TeamScore | None:
        """How teams score if the board ranks them; None if it ranks players."""
        match = _TEAMS.fullmatch(self.segment)
        if match is None:
            return None
        return TeamScore("best", int(match[2])) if match[2] else TeamScore(cast("TeamMethod", match[1]))

    @cached_property
    def group(self) -> str:
        """The id of the group whose members the board shows; empty for any other board."""
        match = _GROUP.fullmatch(self.segment)
        return "" if match is None else match[1]

    @property
    def has_roster(self) -> bool:
        """Whether identity lists who is on the board: groups as teams, or the members of a group."""
        return self.teams is not None or bool(self.group)

    @property
    def is_per_country(self) -> bool:
        """Whether there is a board for each country."""
        return self.segment == _EACH_COUNTRY

    @cached_property
    def countries(self) -> frozenset[str]:
        """The countries whose players are on the board; empty for all players."""
        match = _COUNTRIES.fullmatch(self.segment)
        return frozenset() if match is None else frozenset(match[1].split(","))

    def counted_until_archived(self, period: Period | None) -> Period | None:
        """Return the part of a period, None for all time, that an archived board counted; None if it counted nothing of it."""
        assert self.archived_at is not None, "the board is archived"
        starts_at = EPOCH if period is None else period.starts_at
        ends_at = self.archived_at if period is None else min(period.ends_at, self.archived_at)
        return Period(starts_at, ends_at) if starts_at < ends_at else None

    def with_presentation_of(self, other: Definition) -> Definition:
        """Return the definition with the presentation and visibility of `other`; what is counted stays."""
        return replace(
            self,
            title=other.title,
            visibility=other.visibility,
            size=other.size,
            ranks=other.ranks,
            segment=other.segment if self.teams and other.teams else self.segment,
            freezes_before=other.freezes_before,
        )

    def includes(self, country: str) -> bool:
        """Whether players of this country (empty for none) are on the board."""
        if self.is_per_country:
            return bool(country)
        countries = self.countries
        return not countries or country in countries

    def board(self, country: str, period: str) -> Board:
        """Return the board for players of a country in the period with this name; empty for the only one."""
        qualifier = [self.name, country if self.is_per_country else "", period]
        return Board("custom", ":".join(filter(None, qualifier)))

    def counts_as(self, other: Definition) -> bool:
        """Whether two definitions have the same standings, so that nothing has to be built."""
        mine, theirs = (
            replace(
                each,
                version=0,
                state="ready",
                number=0,
                archived_at=None,
                freeze_changes=0,
                freeze_number=0,
                freeze_state="ready",
                segment="all" if each.teams else each.segment,
            ).with_presentation_of(_UNTITLED)
            for each in (self, other)
        )
        return mine == theirs


def with_copies(definitions: Iterable[Definition]) -> list[Definition]:
    """Return all definitions that are counted: those that are open, and the copies of those with a freeze."""
    counted = [each for each in definitions if each.state != "archived"]
    return counted + [copy for each in counted if (copy := each.until_freeze) is not None]


def canonical(definition: Definition) -> Definition:
    """Return an equal definition with its lists in order and without repetition."""
    segment = definition.segment
    if countries := definition.countries:
        segment = f"country:{','.join(sorted(countries))}"
    return replace(definition, sources=tuple(sorted(set(definition.sources))), segment=segment)


def problems(definition: Definition) -> list[tuple[str, str]]:
    """Return every fault of a definition: the field, and what is wrong with it as the end of a sentence about the board."""
    faults: list[tuple[str, str]] = []
    if not NAME.fullmatch(definition.name):
        faults.append(("name", "must be a lower-case letter, then up to 31 lower-case letters, digits and hyphens"))
    if len(definition.title) > MAX_TITLE or not definition.title.isprintable():
        faults.append(("title", f"must be up to {MAX_TITLE} characters of plain text"))
    faults += _problems_of_sources(definition.sources)
    for field, value, values in (
        ("aggregate", definition.aggregate, get_args(Aggregate)),
        ("order", definition.order, get_args(Order)),
        ("visibility", definition.visibility, get_args(Visibility)),
        ("ranks", definition.ranks, get_args(Ranks)),
    ):
        if value not in values:
            faults.append((field, f"must be one of {', '.join(values)}"))
    if definition.aggregate in ("best", "latest") and not all(
        each.startswith("action:") for each in definition.sources
    ):
        why = "what attempts at a quiz count for together is the quiz's own rule"
        faults.append(("aggregate", f"must be sum or count with sources other than action types: {why}"))
    if not 0 <= definition.size <= MAX_SIZE:
        faults.append(("size", f"must be 1 to {MAX_SIZE}, or 0 for no limit"))
    if definition.ranks == "dense" and not 1 <= definition.size <= MAX_DENSE_SIZE:
        faults.append(("ranks", f"may be dense only on a board with a size of 1 to {MAX_DENSE_SIZE}"))
    try:
        definition.calendar.check()
    except ValueError as error:
        faults.append(("time_zone" if "time zone" in str(error) else "period", str(error)))
    else:
        faults += _problems_of_freeze(definition)
    faults += [("segment", fault) for fault in _problems_of_segment(definition)]
    return faults


def _problems_of_segment(definition: Definition) -> list[str]:
    segment, countries, teams = definition.segment, definition.countries, definition.teams
    if segment.startswith("teams:"):
        if teams is None or teams.best_of > MAX_BEST_OF:
            return [f"must be teams:sum, teams:mean, or teams:best:<k> with a k of 1 to {MAX_BEST_OF}"]
        if teams.method == "sum" and definition.is_ascending:
            return ["must be teams:mean or teams:best:<k> where less is better: a sum favors teams with few members"]
        return []
    if segment.startswith("group:"):
        return [] if definition.group else ["must have the ID of a group, a UUID, after group:"]
    if segment not in ("all", _EACH_COUNTRY) and not countries:
        return [
            "must be all, each-country, country:<codes> such as country:VN,TH, group:<id>, or teams: such as teams:best:5"
        ]
    return [f"has {each}, which is no country of ISO 3166-1" for each in sorted(countries - COUNTRIES)[:1]]


def _problems_of_freeze(definition: Definition) -> list[tuple[str, str]]:
    if not definition.freezes_before:
        return []
    seconds = nominal_seconds(definition.calendar)
    if seconds is None:
        return [("freezes_before", "must be empty on a board of all time, which has no end")]
    if not 1 <= definition.freezes_before < seconds:
        return [("freezes_before", f"must be whole seconds, at least 1 and shorter than a period, which has {seconds}")]
    return []


def is_tag(text: str) -> bool:
    """Whether a source `tag:<text>` can be defined."""
    return _TAG.fullmatch(text) is not None


def _problems_of_sources(sources: Sequence[str]) -> list[tuple[str, str]]:
    if not 1 <= len(sources) <= MAX_SOURCES:
        return [("sources", f"must be 1 to {MAX_SOURCES}")]
    malformed = [source for source in sources if not _SOURCE.fullmatch(source)]
    if malformed:
        return [("sources", f"has {malformed[0][:60]!r}, which is none of all, quiz:<id>, action:<type> and tag:<tag>")]
    if "all" in sources and len(set(sources)) > 1:
        return [("sources", "has all beside others, which it includes")]
    return []


def to_document(definition: Definition) -> dict[str, Any]:
    """Return the definition as MongoDB stores it."""
    fields = {name: getattr(definition, name) for name in _STORED}
    return {**fields, "sources": list(definition.sources)}


def from_document(name: str, document: Mapping[str, Any]) -> Definition:
    """Read a stored definition."""
    fields = {each: document[each] for each in _STORED if each in document}
    fields["sources"] = tuple(cast("Sequence[str]", document["sources"]))
    return Definition(name, **fields)


_STORED: Final = (
    "title", "sources", "aggregate", "order", "period", "time_zone", "segment", "visibility", "size", "ranks", "number",
    "state", "version", "archived_at", "kept", "freezes_before", "freeze_changes", "freeze_number", "freeze_state",
)  # fmt: skip
_UNTITLED: Final = Definition("untitled")
