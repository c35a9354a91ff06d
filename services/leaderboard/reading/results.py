"""The results of reading a board. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from services.leaderboard.ranking import Member

NO_METADATA: Final[Mapping[str, str]] = MappingProxyType({})
# More than the writes to one board within a generation; 2^20 steps stay below 2^53.
VERSIONS_PER_STEP: Final = 2**32


class UnreadableError(Exception):
    """The board cannot be read now. The text is the reason, for the log."""


class Head(NamedTuple):
    """The first members of a board, in order, and the generation and version of that state.

    `previous_ranks` holds the rank before each member's last counted action, where one is stored. `shared_ranks` has the ranks
    of the members where equal points share one; None where ranks are places.

    `metadata` is what the board shows of members, as JSON objects. On a board that ranks teams, members are teams, and
    `titles` has theirs. On a board of groups, `movers` are the players who can change it.
    """

    generation: int
    version: int
    members: Sequence[Member]
    previous_ranks: Mapping[str, int]
    shared_ranks: Sequence[int] | None = None
    titles: Mapping[str, str] | None = None
    movers: Container[str] | None = None
    metadata: Mapping[str, str] = NO_METADATA


class Standing(NamedTuple):
    """A player on a board: place from 1, value, and the rank before their last counted action, if one is stored.

    `above` is the value of the place above, None for the leader. `shared_rank` is the rank where equal points share one, else
    None. `team` is the id and title of the player's team if the board ranks teams. `metadata` is what the board shows of the
    player, a JSON object, or empty.
    """

    rank: int
    value: float
    previous_rank: int | None
    above: float | None
    shared_rank: int | None = None
    team: tuple[str, str] | None = None
    metadata: str = ""

    @property
    def shown_rank(self) -> int:
        """The rank that readers see."""
        return self.rank if self.shared_rank is None else self.shared_rank


class Window(NamedTuple):
    """Consecutive members of a board, the place of the first one, and the number of ranked players.

    `previous_ranks`, `shared_ranks`, `titles` and `metadata` are as in `Head`; `above` is the value of the place above the
    first member, None if that is the leader.
    """

    total: int
    first: int
    members: Sequence[Member]
    previous_ranks: Mapping[str, int]
    above: float | None
    shared_ranks: Sequence[int] | None = None
    titles: Mapping[str, str] | None = None
    metadata: Mapping[str, str] = NO_METADATA
