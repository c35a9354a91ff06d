"""Settings of the boards, shared by score, leaderboard and edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from services.boards.catalog import Catalog, parse_declarations
from services.boards.sharding import Sharding
from services.runtime.config.loading import setting


def declarations_text(text: str) -> str:
    """Return the text if it declares boards. Raises ValueError."""
    parse_declarations(text)
    return text


def sharding_text(text: str) -> str:
    """Return the text if it describes a sharding. Raises ValueError."""
    Sharding(text)
    return text


@dataclass(frozen=True, kw_only=True)
class BoardsConfig:
    """The boards besides the built-in ones, and how boards are stored."""

    prefix: ClassVar[str] = "BOARDS"

    declared: str = setting(
        "",
        doc="Boards by period and country, such as `asean=all,VN+TH+ID; asean-week=weekly,VN+TH+ID; "
        "week-by-country=weekly,country`; the same for score, leaderboard and edge",
        parse=declarations_text,
    )

    keys: str = setting(
        "",
        doc="Boards that are sharded over several keys, such as `all=4; monthly=4`; a change rebuilds all boards",
        parse=sharding_text,
    )

    @property
    def catalog(self) -> Catalog:
        """All boards."""
        return Catalog(parse_declarations(self.declared), Sharding(self.keys), is_complete=False)
