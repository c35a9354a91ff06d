"""The known state of one board: its entries, their latest changes, and the player's own place. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

# How long a change is marked.
CHANGED_FOR: Final = timedelta(seconds=3)


class State(StrEnum):
    """Whether the board is live, in words for a person."""

    CONNECTING = "Connecting"
    LIVE = "Live"
    STALE = "Scores may be missing"
    LOST = "Not live"
    FINAL = "Final"


@dataclass(frozen=True)
class Entry:
    """A player's place on the board. `details` is the beginning of the metadata that the board shows of them."""

    rank: int
    user_id: str
    username: str
    score: int
    country: str = ""
    details: str = ""


@dataclass(frozen=True)
class Change:
    """What a frame changed for a player: the points they gained and the ranks they climbed, both perhaps negative."""

    gained: int
    climbed: int
    is_new: bool
    at: datetime


@dataclass
class Standings:
    """A board as the player `user_id` sees it.

    `title` is empty for a board that has none. `neighbors` are the entries around a player who is below `entries`.
    `frozen_since` is set while entries and places are those of that moment. `count` is the number of ranked players, None
    until it is known. `framed_at` is when the shown frame was made, `heard_at` when the server was last heard; it counts as
    lost after `silence` without a word.
    """

    board: str
    user_id: str
    title: str = ""
    entries: Sequence[Entry] = ()
    neighbors: Sequence[Entry] = ()
    rank: int | None = None
    score: int = 0
    gap: int | None = None
    count: int | None = None
    reset_at: datetime | None = None
    frozen_since: datetime | None = None
    framed_at: datetime | None = None
    heard_at: datetime | None = None
    silence: timedelta = timedelta(seconds=20)
    state: State = State.CONNECTING
    _changes: dict[str, Change] = field(default_factory=dict)

    def show(self, entries: Sequence[Entry], now: datetime) -> None:
        """Replace the entries and note what is different. The first entries of a board change nothing."""
        before = {entry.user_id: entry for entry in self.entries}
        shown = {entry.user_id for entry in entries}
        self._changes = {user: change for user, change in self._changes.items() if user in shown}
        for entry in entries if before else ():
            old = before.get(entry.user_id)
            gained = entry.score - old.score if old else 0
            climbed = old.rank - entry.rank if old else 0
            if gained or climbed or old is None:
                self._changes[entry.user_id] = Change(gained, climbed, old is None, now)
        self.entries = entries
        self._place()

    def stand(self, rank: int | None, score: int, gap: int | None) -> None:
        """Note the player's own place, which the entries know better if the player is among them."""
        self.rank, self.score, self.gap = rank, score, gap
        self._place()

    def change_of(self, entry: Entry, now: datetime) -> Change | None:
        """Return what has just changed for a player, for CHANGED_FOR."""
        change = self._changes.get(entry.user_id)
        return change if change and now - change.at < CHANGED_FOR else None

    def state_at(self, now: datetime) -> State:
        """Return the state, in which a silent server is lost however open the connection looks."""
        is_silent = self.heard_at is not None and now - self.heard_at > self.silence
        return State.LOST if is_silent and self.state in (State.LIVE, State.STALE) else self.state

    @property
    def next_above(self) -> Entry | None:
        """The entry at the place above the player's own, if it is shown."""
        every = [*self.entries, *self.neighbors]
        return next((entry for entry in every if self.rank is not None and entry.rank == self.rank - 1), None)

    def _place(self) -> None:
        """Take the player's own place from the entries, if they are among them: a frame is newer than any other word of it."""
        for above, own in zip([None, *self.entries], self.entries, strict=False):
            if own.user_id == self.user_id:
                self.rank, self.score, self.gap = own.rank, own.score, above.score - own.score if above else None
