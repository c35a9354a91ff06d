"""The use cases of dead letters: looking at them, and counting them after all."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from services.score.answers import NeverError
from services.score.available import available
from services.score.events import decode
from services.score.ledger import Event
from services.score.paging import place_of, token_of
from services.score.seals import Seals

if TYPE_CHECKING:
    from services.score.dead_letters import DeadLetter, DeadLetters

DEFAULT_PAGE: Final = 20
# A letter does not say which partition it came through; the ledger notes that for whoever looks, and for nothing else.
_NO_PARTITION: Final = 0


class Counter(Protocol):
    """Counting events, each exactly once."""

    def count(self, events: Sequence[Event]) -> Coroutine[Any, Any, Mapping[str, Exception]]:
        """What was refused, by event id."""


class Outcome(NamedTuple):
    """What became of one letter; `reason` is why it is still not counted."""

    letter_id: str
    counted: bool
    reason: str


class Letters:
    """Every method raises UNAVAILABLE if the database does not answer."""

    def __init__(self, letters: DeadLetters, counter: Counter, *, seals: Seals, replayed: str) -> None:
        """`replayed` is the state of a letter that is counted."""
        self._letters = letters
        self._counter = counter
        self._seals = seals
        self._replayed = replayed

    async def page(self, limit: int, token: str, state: str | None) -> tuple[list[DeadLetter], str]:
        """A page, the newest first, and the token of the next one. Raises INVALID_ARGUMENT for a token that is none."""
        limit = limit or DEFAULT_PAGE
        async with available():
            found = await self._letters.page(limit + 1, place_of(token), state)
        more = len(found) > limit
        last = found[:limit][-1] if more else None
        return found[:limit], "" if last is None else token_of((last.at, last.letter_id))

    async def letter(self, letter_id: str) -> DeadLetter | None:
        """One letter with its payload."""
        async with available():
            return (await self._letters.letters([letter_id])).get(letter_id)

    async def replay(self, letter_ids: Sequence[str]) -> list[Outcome]:
        """Count the events of these letters. One that was counted before is not counted again."""
        async with available():
            letters = await self._letters.letters(letter_ids)
            refused: dict[str, str] = {}
            events: dict[str, Event] = {}
            for letter_id in letter_ids:
                if letter_id not in letters:
                    refused[letter_id] = "there is no such letter"
                    continue
                letter = letters[letter_id]
                try:
                    events[letter_id] = decode(
                        letter.payload, sequence=letter.sequence, partition=_NO_PARTITION, seals=self._seals
                    )
                except NeverError as error:
                    refused[letter_id] = str(error)
            # Shielded: counting that is broken off leaves it open what the ledger has.
            counting = asyncio.ensure_future(self._counter.count(list(events.values())))
            failures = await asyncio.shield(counting)
            for letter_id, event in events.items():
                if event.event_id in failures:
                    refused[letter_id] = str(failures[event.event_id])[:500]
                else:
                    await self._letters.settle(letter_id, state=self._replayed, reason=letters[letter_id].reason)
        return [Outcome(letter_id, letter_id not in refused, refused.get(letter_id, "")) for letter_id in letter_ids]
