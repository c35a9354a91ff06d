"""The use cases of board definitions: define, archive, list."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from services.boards.catalog import Catalog
from services.boards.definition import Definition, canonical, problems, with_copies
from services.runtime.errors import Reason, ServiceError
from services.score.definitions.store import Definitions
from services.score.errors import store_errors_as_unavailable

if TYPE_CHECKING:
    from services.score.definitions.store import DefinitionStore

MAX_BOARDS: Final = 1000
MAX_PER_PLAYER: Final = 50
# A country that no definition names.
_ANY_OTHER: Final = "??"
_FIXED: Final = {
    "order": "Past periods depend on it.",
    "period": "Past periods depend on it.",
    "time_zone": "Past periods depend on it.",
}
_log = structlog.get_logger("definitions")


class ListedBoard(NamedTuple):
    """A definition, and the share of players, 0 to 100, who are on its boards while they are being built."""

    definition: Definition
    progress: int


class BoardDefinitions:
    """Boards that teams define, beside those that the operator declares.

    `catalog` returns the boards in force, `has_group` whether a group of players exists, `now` the time of an archiving.
    """

    def __init__(
        self,
        store: DefinitionStore,
        catalog: Callable[[], Catalog],
        has_group: Callable[[str], Awaitable[bool]],
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._has_group = has_group
        self._now = now

    async def put(self, definition: Definition, *, actor: str) -> tuple[Definition, bool]:
        """Define a board or change it; return it, and whether anything changed.

        Raises BOARD_DEFINITION_INVALID with every fault, LIMIT_REACHED, UNAVAILABLE.
        """
        definition = canonical(definition)
        faults = problems(definition)
        if definition.name in self._declared():
            faults.append(("name", "is that of a board which the settings declare"))
        if faults:
            raise _invalid(faults)
        await self._require_group(definition)

        def change(before: Definitions) -> tuple[Definitions | None, tuple[Definition, bool]]:
            former = before.boards.get(definition.name)
            if former is not None:
                _refuse_fixed(former, definition)
            elif len(before.boards) >= MAX_BOARDS:
                raise ServiceError(
                    Reason.LIMIT_REACHED,
                    f"There are {MAX_BOARDS} boards, archived ones included: no more can be defined.",
                )
            after, numbers = _numbered(before, former, definition)
            if former is not None and after == former:
                return None, (former, False)
            if former is None or not after.counts_as(former) or after.freeze_number != former.freeze_number:
                _refuse_too_many(before, after)
            return before._replace(numbers=numbers, boards={**before.boards, after.name: after}), (after, True)

        async with store_errors_as_unavailable():
            stored, changed = await self._store.change(change)
        if changed:
            _log.info("board defined", board=stored.name, version=stored.version, state=stored.state, actor=actor)
        return stored, changed

    async def archive(self, name: str, *, actor: str) -> tuple[Definition, bool]:
        """Stop counting on a board; return it, and whether it was open.

        Raises BOARD_NOT_FOUND, BOARD_DEFINITION_INVALID for one that the settings declare, UNAVAILABLE.
        """
        if name in self._declared():
            raise _invalid([("name", "is that of a board which the settings declare")])

        def change(before: Definitions) -> tuple[Definitions | None, tuple[Definition, bool]]:
            former = before.boards.get(name)
            if former is None:
                raise ServiceError(Reason.BOARD_NOT_FOUND, "No board has this name.")
            if former.state == "archived":
                return None, (former, False)
            if former.state == "building":
                raise ServiceError(Reason.UNAVAILABLE, "The board is being filled. Archive it when it is ready.")
            after = replace(former, state="archived", archived_at=self._now(), version=former.version + 1)
            return before._replace(boards={**before.boards, name: after}), (after, True)

        async with store_errors_as_unavailable():
            stored, changed = await self._store.change(change)
        if changed:
            _log.info("board archived", board=name, actor=actor)
        return stored, changed

    async def all(self, edition: int) -> tuple[int, list[ListedBoard]]:
        """Return the edition and all boards by name; no boards if the caller has this edition. Raises UNAVAILABLE."""
        async with store_errors_as_unavailable():
            definitions = await self._store.read()
            progress = await self._store.progress()
        if edition and edition == definitions.edition:
            return edition, []
        boards = {**definitions.boards, **self._declared()}
        return definitions.edition, [
            ListedBoard(each, progress.get(name, 0) if each.state == "building" else 100)
            for name, each in sorted(boards.items())
        ]

    async def _require_group(self, definition: Definition) -> None:
        """Raise BOARD_DEFINITION_INVALID if a new board is of a group that does not exist. A board outlives its group."""
        if not definition.group:
            return
        async with store_errors_as_unavailable():
            is_defined = definition.name in (await self._store.read()).boards
        if not is_defined and not await self._has_group(definition.group):
            raise _invalid([("segment", "has the ID of a group that does not exist")])

    def _declared(self) -> dict[str, Definition]:
        return {name: each for name, each in self._catalog().definitions.items() if each.declared}


def _numbered(before: Definitions, former: Definition | None, wanted: Definition) -> tuple[Definition, int]:
    """Return the definition with the number of its counter, its state and its version; and the highest number."""
    numbers = before.numbers
    known = {each.counter: each.number for each in with_copies(before.boards.values())}
    if former is not None and former.counts_as(wanted):
        after = former.with_presentation_of(wanted)
        if after == former:
            return former, numbers
        is_frozen_as_before = former.freezes_before == wanted.freezes_before
    else:
        number = 0 if wanted.counter.is_built_in else known.get(wanted.counter, numbers + 1)
        numbers = max(numbers, number)
        changes = 0 if former is None else former.freeze_changes
        after = replace(wanted, number=number, state="building", freeze_changes=changes)
        is_frozen_as_before = False
    copy = after.until_freeze
    if copy is None:
        after = replace(after, freeze_number=0, freeze_state="ready")
    elif not is_frozen_as_before:
        number = known.get(copy.counter, numbers + 1)
        numbers = max(numbers, number)
        after = replace(after, freeze_number=number, freeze_state="building")
    if after.freezes_before != (0 if former is None else former.freezes_before):
        after = replace(after, freeze_changes=after.freeze_changes + 1)
    return replace(after, version=1 if former is None else former.version + 1), numbers


def _refuse_fixed(former: Definition, wanted: Definition) -> None:
    if former.state == "archived":
        raise _invalid([("name", "is that of an archived board")])
    faults = [
        (field, f"cannot change: {why}")
        for field, why in _FIXED.items()
        if getattr(former, field) != getattr(wanted, field)
    ]
    if (former.teams is None) != (wanted.teams is None):
        faults.append(("segment", "cannot change between players and teams: past periods depend on it"))
    elif former.group != wanted.group:
        faults.append(("segment", "cannot change to or from a group, or to another one: past periods depend on it"))
    elif former.is_per_country != wanted.is_per_country:
        faults.append(("segment", "cannot change to or from each-country: the names of boards depend on it"))
    if faults:
        raise _invalid(faults)


def _refuse_too_many(before: Definitions, wanted: Definition) -> None:
    """Raise LIMIT_REACHED if a player could be on more than 50 defined boards: everything they do is written to each.

    A board with a freeze counts as two.
    """
    boards = with_copies([*(each for each in before.boards.values() if each.name != wanted.name), wanted])
    countries = {country for each in boards for country in each.countries} | {_ANY_OTHER}
    if any(sum(each.includes(country) for each in boards) > MAX_PER_PLAYER for country in countries):
        message = f"A player may be on at most {MAX_PER_PLAYER} open boards. Archive one first."
        raise ServiceError(Reason.LIMIT_REACHED, message)


def _invalid(faults: list[tuple[str, str]]) -> ServiceError:
    message = "; ".join(f"{field} {text}" for field, text in faults)
    return ServiceError(
        Reason.BOARD_DEFINITION_INVALID,
        f"The board's definition is invalid: {message}.",
        violations=[(f"definition.{field}", text) for field, text in faults],
    )
