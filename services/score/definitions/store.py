"""The definitions of boards in MongoDB: one document, which score writes and leaderboard reads.

    definitions   {_id: "definitions", edition, numbers, boards: {<name>: see `definition.to_document`}}
    progress      {_id: "progress", boards: {<name>: percent}}

Every change raises `edition` in the same write, and is refused if `edition` is no longer the one that it was made from.
`numbers` is the highest number that a counter was ever given. `BoardDefinitions` decides which definitions are written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeVar

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from services.boards.catalog import Catalog
from services.boards.definition import DEFINITIONS, Definition, from_document, to_document

_ATTEMPTS: Final = 20
Document = dict[str, Any]
T = TypeVar("T")


class Definitions(NamedTuple):
    """All definitions by name, of one edition; `numbers` is the highest number of a counter."""

    edition: int
    numbers: int
    boards: Mapping[str, Definition]


class DefinitionStore:
    """The collection. The driver's errors are not translated."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._definitions = database[DEFINITIONS]

    async def edition(self) -> int:
        """Return the edition; 0 if nothing was ever defined."""
        document = await self._definitions.find_one({"_id": DEFINITIONS}, {"edition": 1})
        return 0 if document is None else int(document["edition"])

    async def read(self) -> Definitions:
        """Return all definitions."""
        document = await self._definitions.find_one({"_id": DEFINITIONS})
        if document is None:
            return Definitions(0, 0, {})
        boards = {name: from_document(name, stored) for name, stored in document["boards"].items()}
        return Definitions(document["edition"], document["numbers"], boards)

    async def catalog(self, declared: str) -> Catalog:
        """Return the catalog of the operator's part, given as text, and of all definitions."""
        edition, numbers, boards = await self.read()
        return Catalog.from_text(declared, boards.values(), edition=edition, numbers=numbers)

    async def change(self, change: Callable[[Definitions], tuple[Definitions | None, T]]) -> T:
        """Replace the definitions by what `change` makes of them, unless that is None; return its result.

        `change` is called again if others change them at the same time, so it must have no effects.
        """
        for _ in range(_ATTEMPTS):
            before = await self.read()
            after, result = change(before)
            if after is None or await self._replace(before.edition, after):
                return result
        raise TimeoutError("the definitions of boards keep changing")

    async def mark_ready(self, names: Sequence[str], edition: int) -> bool:
        """Mark boards of this edition as ready, copies until the freeze too. Return False, without a change, if it is old."""
        before = await self.read()
        if before.edition != edition:
            return False
        boards = {name: _ready(definition, names) for name, definition in before.boards.items()}
        return await self._replace(edition, before._replace(boards=boards))

    async def mark_kept(self, names: Collection[str]) -> None:
        """Mark archived definitions whose boards are all in the archive. Idempotent."""

        def change(before: Definitions) -> tuple[Definitions | None, None]:
            archiving = {name: each for name, each in before.boards.items() if name in names and each.is_archiving}
            kept = {name: replace(each, kept=True) for name, each in archiving.items()}
            return (before._replace(boards={**before.boards, **kept}) if kept else None), None

        await self.change(change)

    async def report_progress(self, names: Sequence[str], percent: int) -> None:
        """Set the share of players who are on these boards, 0 to 100."""
        progress = {f"boards.{name}": percent for name in names}
        await self._definitions.update_one({"_id": "progress"}, {"$set": progress}, upsert=True)

    async def progress(self) -> Mapping[str, int]:
        """Return the share of players who are on each board that is, or was, being built."""
        document = await self._definitions.find_one({"_id": "progress"})
        return {} if document is None else document["boards"]

    async def _replace(self, edition: int, after: Definitions) -> bool:
        document = {
            "edition": edition + 1,
            "numbers": after.numbers,
            "boards": {name: to_document(definition) for name, definition in after.boards.items()},
        }
        try:
            written = await self._definitions.replace_one(
                {"_id": DEFINITIONS, "edition": edition}, document, upsert=edition == 0
            )
        except DuplicateKeyError:
            return False
        return bool(written.matched_count or written.upserted_id)


def _ready(definition: Definition, names: Collection[str]) -> Definition:
    """Return the definition with what is in `names` ready: the board, its copy until the freeze, or both."""
    copy = definition.until_freeze
    if copy is not None and copy.name in names:
        definition = replace(definition, freeze_state="ready")
    return replace(definition, state="ready") if definition.name in names else definition
