"""The rows that decide which metadata boards show of a player: actions whose type shows it, and their voids."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, Final

from bson.datetime_ms import DatetimeMS
from pymongo import ASCENDING
from pymongo.asynchronous.collection import AsyncCollection

from services.score.ledger.documents import Document, row_of
from services.score.ledger.personal_data_digests import PersonalDataDigests
from services.score.ledger.rows import AMENDING_KINDS, Row

_PLAYERS_PER_QUERY: Final = 100
_SHOWN: Final[Document] = {"shows_metadata": True}
_AMENDING: Final[Document] = {"kind": {"$in": sorted(AMENDING_KINDS)}}


class ShownRows:
    """Reads the ledger. An index has the rows of shown metadata alone, so that all others cost it nothing."""

    def __init__(self, ledger: AsyncCollection[Document], digests: PersonalDataDigests) -> None:
        self._ledger = ledger
        self._digests = digests

    async def prepare(self) -> None:
        """Create the index. Idempotent."""
        await self._ledger.create_index([("chain", ASCENDING), ("at", ASCENDING)], partialFilterExpression=_SHOWN)

    async def at(self, times: Mapping[str, Collection[int]]) -> AsyncIterator[Row]:
        """Yield those of the rows that count for one of these times, by user id, in milliseconds. In any order."""
        players = list(times.items())
        for start in range(0, len(players), _PLAYERS_PER_QUERY):
            page = players[start : start + _PLAYERS_PER_QUERY]
            user_ids = {self._digests.chain(user_id): user_id for user_id, _ in page}
            same: list[dict[str, Any]] = [
                {"chain": self._digests.chain(user_id), "at": {"$in": [DatetimeMS(int(each)) for each in of_player]}}
                for user_id, of_player in page
            ]
            query = {"$or": [{**each, **kind} for each in same for kind in (_SHOWN, _AMENDING)]}
            async for document in self._ledger.find(query):
                yield row_of(document)._replace(user_id=user_ids[document["chain"]])
