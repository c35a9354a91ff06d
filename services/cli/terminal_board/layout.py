"""Standings as lines of a terminal: any width, any script, nothing cut but names. Pure.

Widths are cells: a wide character takes two, a combining one none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from services.cli.terminal_board.standings import Entry, Standings, State

KEYS: Final = " q quit   Tab next board"
NOBODY: Final = " No scores yet."
# Neighbors on either side.
NEAR: Final = 3
MIN_NAME: Final = 6
# A name keeps this much before a column beside it is shown.
GOOD_NAME: Final = 18
MAX_NAME: Final = 34
# Details are shown where this much is left beside a name.
MIN_DETAILS: Final = 8
MOVE, GAIN, COUNTRY, MIN_BAR = 5, 9, 3, 10
TITLES: Final = {"all": "All time", "weekly": "This week", "monthly": "This month"}
METALS: Final = {1: "bold yellow", 2: "bold white", 3: "bold dark_orange3"}
STATES: Final = {State.LIVE: "green", State.FINAL: "bold", State.CONNECTING: "dim"}
# Marks of direction, which would turn the rest of a line around.
_DIRECTION: Final = {*"\u061c\u200e\u200f", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
_BREAKING: Final = {"Cc", "Cs", "Zl", "Zp"}


@dataclass(frozen=True)
class Columns:
    """The width of each column; 0 for one that there is no room for."""

    rank: int
    name: int
    country: int
    bar: int
    move: int
    gain: int
    score: int


def title_of(board: str) -> str:
    """Return what a board without a title is called: `This week`, `GB`, `weekly 2026-47`."""
    kind, _, qualifier = board.partition(":")
    if not qualifier:
        return TITLES.get(kind, kind)
    return qualifier if kind in ("country", "custom") else f"{kind} {qualifier}"


def lay_out(standings: Standings, tabs: Mapping[str, str], width: int, height: int, now: datetime) -> list[Text]:
    """Return the lines of a screen, `height` of at most `width` cells, with the keys on the last one.

    `tabs` are the boards that a key leads to, by name, each with its title, if it has one.
    """
    head = [_tabs(standings.board, tabs, width), _facts(standings, width, now)]
    room = max(1, height - len(head) - 2)
    body = _rows(standings, width, room, now)
    filler = [Text("")] * (room - len(body))
    return [*head, *body, _own(standings, width), *filler, Text(fit(KEYS, width), style="dim")][:height]


def lay_out_once(standings: Standings, width: int, now: datetime) -> list[Text]:
    """Return the lines of a board for a file or a pipe: its name, all rows without what moves, and the own place."""
    facts = [standings.title or title_of(standings.board), *_board_facts(standings, now)]
    if standings.state is not State.LIVE:
        facts.append(str(standings.state))
    facts += filter(None, [_freeze(standings)])
    columns = _columns([*standings.entries, *standings.neighbors], width, moving=False)
    rows = [_row(standings, entry, columns, now) for entry in standings.entries] or [Text(NOBODY)]
    nearby = [_row(standings, entry, columns, now) for entry in _nearby(standings)]
    gap = [Text(f"{'…':>{columns.rank + 1}}")] if nearby else []
    lines = [Text(" " + clean(" · ".join(facts))), *rows, *gap, *nearby, _own(standings, width)]
    for line in lines:
        line.rstrip()
    return lines


def fit(text: str, width: int) -> str:
    """Cut or pad a text to exactly `width` cells; an ellipsis ends what is cut."""
    if cell_len(text) > width:
        text = set_cell_size(text, max(0, width - 1)).rstrip() + "…"
    return set_cell_size(text, width)


def clean(name: str) -> str:
    """Return a name without the characters that would break its line or turn the rest of it around."""
    return "".join(each for each in name if each not in _DIRECTION and unicodedata.category(each) not in _BREAKING)


def duration(left: timedelta) -> str:
    """Return a time span as `2 d 03:14:15`."""
    seconds = max(0, round(left.total_seconds()))
    days, clock = divmod(seconds, 86_400)
    return (f"{days} d " if days else "") + f"{clock // 3600:02}:{clock // 60 % 60:02}:{clock % 60:02}"


def _tabs(board: str, tabs: Mapping[str, str], width: int) -> Text:
    """The names of the boards, the shown one marked; from the shown one on if they do not all fit."""
    names, every = list(tabs), [f" {clean(title or title_of(name))} " for name, title in tabs.items()]
    first = names.index(board) if board in names and cell_len("".join(every)) > width else 0
    line = Text(no_wrap=True)
    for tab, title in zip(names[first:], every[first:], strict=True):
        line.append(fit(title, min(cell_len(title), width)), style="bold reverse" if tab == board else "dim")
    return _cut(line, width)


def _facts(standings: Standings, width: int, now: datetime) -> Text:
    """Whether it is live and how old the frame is; on the right the players and the countdown, as far as there is room."""
    state = standings.state_at(now)
    line = Text(no_wrap=True).append(f" ● {state}", style=STATES.get(state, "bold red"))
    if frozen := _freeze(standings):
        line.append(f" · {frozen}", style="bold")
    if standings.framed_at and state is not State.FINAL:
        line.append(f" · {_age(now - standings.framed_at)}", style="dim")
    facts = _board_facts(standings, now)
    while facts and cell_len(line.plain) + 3 + cell_len(" · ".join(facts)) > width:
        facts.pop()
    right = " · ".join(facts)
    line.append(" " * (width - cell_len(line.plain) - cell_len(right) - 1) if right else "")
    return _cut(line.append(right, style="dim"), width)


def _board_facts(standings: Standings, now: datetime) -> list[str]:
    """The number of players and the countdown, as far as they are known."""
    facts = [f"{standings.count:,} player{'' if standings.count == 1 else 's'}"] if standings.count is not None else []
    if standings.reset_at and standings.state is not State.FINAL:
        facts.append(f"resets in {duration(standings.reset_at - now)}")
    return facts


def _freeze(standings: Standings) -> str:
    """Say since when the board is frozen, in the time of this machine; nothing if it is not."""
    since = standings.frozen_since
    return f"frozen since {since.astimezone():%H:%M}" if since and standings.state is not State.FINAL else ""


def _age(age: timedelta) -> str:
    seconds = max(0, round(age.total_seconds()))
    return f"{seconds} s old" if seconds < 120 else f"{seconds // 60} min old"


def _rows(standings: Standings, width: int, room: int, now: datetime) -> list[Text]:
    """The entries and, for a player below them, the neighbors; the own row is always among them."""
    if not standings.entries:
        return [] if standings.state is State.CONNECTING else [Text(fit(NOBODY, width), style="dim")]
    nearby = _nearby(standings)
    columns = _columns([*standings.entries, *nearby], width)
    rows = [_row(standings, entry, columns, now) for entry in standings.entries]
    if nearby:
        # Fewer of the first on a low screen, never fewer around the player.
        rows = rows[: max(0, room - len(nearby) - 1)]
        rule = " ─ around you " if width >= 20 else " "
        rows.append(Text(set_cell_size(rule + "─" * width, width), style="dim"))
        rows += [_row(standings, entry, columns, now) for entry in nearby]
    elif standings.rank is not None and standings.rank > room:
        own = rows[min(standings.rank, len(rows)) - 1]
        rows = [*rows[: room - 1], own]
    return rows[-room:] if nearby else rows[:room]


def _nearby(standings: Standings) -> list[Entry]:
    """The neighbors of a player who is below the first, without those who are among the first."""
    first, own = len(standings.entries), standings.rank or 0
    near = range(max(first, own - NEAR - 1) + 1, own + NEAR + 1)
    return [entry for entry in standings.neighbors if own > first and entry.rank in near]


def _columns(entries: Sequence[Entry], width: int, *, moving: bool = True) -> Columns:
    """Share the width: rank, name and score first, then moves, gains, countries and bars while the name stays long.

    Details take the place of bars, behind the names.
    """
    rank = max([2, *(len(f"{entry.rank:,}") for entry in entries)])
    score = max([1, *(len(f"{entry.score:,}") for entry in entries)])
    left = width - 1 - rank - 1 - 1 - score - 1  # a mark, and a space between columns and at the end
    move = MOVE if moving and left - MOVE >= MIN_NAME else 0
    left -= move
    gain = GAIN if moving and left - GAIN >= GOOD_NAME else 0
    left -= gain
    country = COUNTRY if left - COUNTRY >= GOOD_NAME else 0
    left -= country
    has_details = any(entry.details for entry in entries)
    bar = left - MAX_NAME if moving and not has_details and left - MAX_NAME >= MIN_BAR else 0
    name = left - bar if moving or has_details else min(left, MAX_NAME)
    return Columns(rank, max(1, name), country, bar, move, gain, score)


def _row(standings: Standings, entry: Entry, columns: Columns, now: datetime) -> Text:
    change = standings.change_of(entry, now)
    is_own = entry.user_id == standings.user_id
    name = "bold magenta" if is_own else ""
    line = Text(no_wrap=True).append("▸" if is_own else " ", style=name)
    line.append(f"{entry.rank:>{columns.rank},} ", style=METALS.get(entry.rank, name or "dim"))
    shown = fit(clean(entry.username), min(columns.name, cell_len(clean(entry.username))))
    line.append(shown, style=name)
    line.append(_details(entry, columns.name - cell_len(shown)), style="dim")
    if columns.country:
        line.append(f" {fit(entry.country, 2)}", style="dim")
    if columns.bar:
        line.append(
            " " + _bar(entry.score, standings.entries[0].score, columns.bar - 1), style="magenta" if is_own else "dim"
        )
    if columns.move:
        climbed = change.climbed if change else 0
        mark = "new" if change and change.is_new else f"{'▲' if climbed > 0 else '▼'}{abs(climbed)}" if climbed else ""
        line.append(
            " " + fit(mark, columns.move - 1).rstrip().rjust(columns.move - 1),
            style="bold green" if climbed > 0 else "dim",
        )
    if columns.gain:
        gained = f"{change.gained:+,}" if change and change.gained else ""
        line.append(" " + fit(gained, columns.gain - 1).rstrip().rjust(columns.gain - 1), style="bold yellow")
    line.append(f" {entry.score:>{columns.score},} ", style="bold magenta" if is_own else "bold")
    return _cut(line, columns_width(columns))


def _details(entry: Entry, width: int) -> str:
    """Exactly `width` cells behind a name, with its details if they have room."""
    has_room = entry.details and width >= MIN_DETAILS
    return fit(f"  {clean(entry.details)}" if has_room else "", width)


def columns_width(columns: Columns) -> int:
    """Return the width of a row."""
    shown = columns.name + columns.country + columns.bar + columns.move + columns.gain
    return 1 + columns.rank + 1 + shown + 1 + columns.score + 1


def _bar(score: int, leader: int, width: int) -> str:
    """A bar as long as the score is in proportion to the leader's."""
    share = max(0.0, min(1.0, score / leader)) if leader > 0 else 0.0
    return ("━" * round(share * width)).ljust(width)


def _own(standings: Standings, width: int) -> Text:
    """The player's own place and the distance to the next one."""
    if standings.rank is None:
        text = " Play a quiz to get on this board." if standings.state in (State.LIVE, State.STALE) else ""
        return Text(fit(text, width), style="dim")
    parts = [f"You are {ordinal(standings.rank)} with {standings.score:,}"]
    if standings.rank == 1:
        parts.append("you lead")
    elif standings.gap is not None:
        above = standings.next_above
        name = clean(above.username) if above else ordinal(standings.rank - 1)
        parts.append(f"{standings.gap:,} to {name}" if standings.gap else f"level with {name}")
    return Text(fit(" " + " · ".join(parts), width), style="magenta", no_wrap=True)


def ordinal(rank: int) -> str:
    """Return a rank as `1st`, `12th`, `1,002nd`."""
    suffix = "th" if rank % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank:,}{suffix}"


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="crop")
    return line
