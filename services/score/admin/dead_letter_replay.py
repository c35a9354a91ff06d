"""Dead letters for operators: list them, show one, and replay them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from services.runtime.page_tokens import page_token, read_page_token
from services.score.errors import UnprocessableError, store_errors_as_unavailable
from services.score.ingest.decoding import decode
from services.score.ingest.messages import contents_of
from services.score.ingest.record_check import UNKNOWN_DATA
from services.score.ledger.events import Event
from services.score.ledger.personal_data_digests import PersonalDataDigests

if TYPE_CHECKING:
    from services.score.ingest.dead_letter_store import DeadLetter, DeadLetterStore
    from services.score.ingest.worker import Worker

DEFAULT_PAGE: Final = 20
_LISTING: Final = "dead_letters"
# A dead letter does not record its partition, which the ledger keeps for information only.
_NO_PARTITION: Final = 0


class ReplayOutcome(NamedTuple):
    """The outcome for one dead letter; `reason` is why its event is still not counted."""

    letter_id: str
    counted: bool
    reason: str


def dead_letter_cursor(dead_letter: DeadLetter) -> str:
    """Return the token of the page of dead letters that follows this one."""
    return page_token(_LISTING, dead_letter.at, dead_letter.letter_id)


class DeadLetterReplay:
    """Every method raises UNAVAILABLE if a store is away."""

    def __init__(self, dead_letters: DeadLetterStore, worker: Worker, *, digests: PersonalDataDigests) -> None:
        self._dead_letters = dead_letters
        self._worker = worker
        self._digests = digests

    async def page(self, limit: int, token: str, state: str | None) -> tuple[list[DeadLetter], str]:
        """Return a page, newest first, and the token of the next; 0 is a page of 20. Raises INVALID_ARGUMENT."""
        limit = limit or DEFAULT_PAGE
        after = read_page_token(token, _LISTING, int, str)
        async with store_errors_as_unavailable():
            dead_letters = await self._dead_letters.page(limit + 1, after, state)
        page, more = dead_letters[:limit], len(dead_letters) > limit
        return page, dead_letter_cursor(page[-1]) if more else ""

    async def get(self, letter_id: str) -> DeadLetter | None:
        """Return one dead letter with its payload."""
        async with store_errors_as_unavailable():
            return (await self._dead_letters.by_id([letter_id])).get(letter_id)

    async def replay(self, letter_ids: Sequence[str]) -> list[ReplayOutcome]:
        """Count the events of these dead letters. An event that was counted before is not counted again."""
        refused: dict[str, str] = {}
        events: dict[str, list[Event]] = {}
        async with store_errors_as_unavailable():
            dead_letters = await self._dead_letters.by_id(letter_ids)
            for letter_id in letter_ids:
                dead_letter = dead_letters.get(letter_id)
                if dead_letter is None:
                    refused[letter_id] = "No such dead letter."
                    continue
                try:
                    events[letter_id] = self._events_in(dead_letter)
                except UnprocessableError as error:
                    refused[letter_id] = str(error)
            # Shielded: cancelled counting would leave unknown what the ledger has.
            failures = await asyncio.shield(asyncio.ensure_future(self._worker.count(list(chain(*events.values())))))
            for letter_id, each in events.items():
                failed = [event.event_id for event in each if event.event_id in failures]
                if failed:
                    refused[letter_id] = str(failures[failed[0]])[:500]
                else:
                    await self._dead_letters.record_replay(letter_id)
        return [
            ReplayOutcome(letter_id, letter_id not in refused, refused.get(letter_id, "")) for letter_id in letter_ids
        ]

    def _events_in(self, dead_letter: DeadLetter) -> list[Event]:
        """Return the events of a dead letter: several if a worker that does not read groups set one aside as a whole.

        Raises UnprocessableError.
        """
        # A dead letter may be older than the data.
        return [
            decode(part.data, sequence=dead_letter.sequence, partition=_NO_PARTITION, digests=self._digests)._replace(
                data=part.data, recorded_on=UNKNOWN_DATA
            )
            for part in contents_of(dead_letter.subject, dead_letter.payload, "").parts
        ]
