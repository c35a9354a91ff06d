"""Mending what a check found: folds and boards are made from the ledger again. The ledger itself is never changed.

A row that was altered, or a chain with a gap, is named by the check and left for people: nothing here could know better.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol

from services.score.reports import At, Checked, Found, Progress, Rebuilt, followed

_OF_A_PLAYER = frozenset({"total", "chain"})
_PAGE = 100


class Check(Protocol):
    """One check of everything."""

    def run(self) -> AsyncIterator[At | Found | Checked]:
        """Progress, findings, and the summary last."""


class Repair:
    """One check, and what it found mended; `run` once.

    `mend` writes the folds of players from their whole chains and says how many differed; `make` makes boards anew.
    """

    def __init__(
        self,
        check: Check,
        mend: Callable[[list[str]], Coroutine[Any, Any, int]],
        make: Callable[[Progress], Coroutine[Any, Any, Rebuilt]],
    ) -> None:
        self._check = check
        self._mend = mend
        self._make = make

    async def run(self) -> AsyncIterator[At | Found | Checked]:
        """Everything that the check says; its summary, last, says what was mended besides. Raises what a store raises."""
        players: dict[str, None] = {}
        boards = False
        summary: Checked | None = None
        async for step in self._check.run():
            if isinstance(step, Checked):
                summary = step
                continue
            if isinstance(step, Found):
                boards = boards or step.kind == "board"
                if step.kind in _OF_A_PLAYER:
                    players[step.subject] = None
            yield step
        assert summary is not None, "a check ends with its summary"
        mended = 0
        wrong = list(players)
        for start in range(0, len(wrong), _PAGE):
            mended += await self._mend(wrong[start : start + _PAGE])
            yield At("mending totals", min(start + _PAGE, len(wrong)), len(wrong))
        rebuilt = 0
        if boards or mended:
            async for made in followed(self._make):
                if isinstance(made, At):
                    yield made
                else:
                    rebuilt = made.boards
        yield summary._replace(mended_players=mended, rebuilt_boards=rebuilt)
