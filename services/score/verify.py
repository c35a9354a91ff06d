"""Holding everything derived against the ledger: totals, chains, folds, boards, member by member.

Changes nothing. One pass reads the chains by player, beside the folds in the same order, and asks Redis for each player's
value on each of his boards; then each board is read for members that have no business there. Memory is a page of players.

Events are counted while it runs, so what looks wrong is only a suspect. It is looked at again, with everything about that
player read anew, after the time that a batch takes from its insert to its boards and folds; and again for as long as the
player's last row is younger than that.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from redis.asyncio import Redis

from services.runtime.boards import Board, points_of
from services.runtime.erased import is_pseudonym
from services.runtime.redis_scripts import together
from services.runtime.split import Part
from services.score.ledger import Fold, Row, apply, clamped, row_hash
from services.score.meta import Meta
from services.score.rebuild import parts_in
from services.score.reports import At, Checked, Found
from services.score.standings import Placing, is_kept, milliseconds_of
from services.score.store import ScoreStore

# From the insert of a row to its boards and folds, when the machine is busy.
IN_FLIGHT = timedelta(seconds=5)
_PAGE = 500
_MOST_SUSPECTS = 5000
_ROUNDS = 12
_PROGRESS_EVERY = 2000


class _Suspect(NamedTuple):
    """A player, and the board where he looks wrong; None for his chain and his fold."""

    user_id: str
    board: Board | None


class Verification:
    """One check of everything; `run` once."""

    def __init__(
        self,
        store: ScoreStore,
        redis: Redis,
        meta: Meta,
        placing: Placing,
        *,
        period_retention: timedelta,
        now: Callable[[], datetime],
        in_flight: timedelta = IN_FLIGHT,
    ) -> None:
        self._store = store
        self._redis = redis
        self._meta = meta
        self._placing = placing
        self._retention = period_retention
        self._now = now
        self._in_flight = in_flight
        self._rows = 0
        self._players = 0
        self._findings = 0
        self._members: Counter[Part] = Counter()
        self._suspects: dict[_Suspect, None] = {}

    async def run(self) -> AsyncIterator[At | Found | Checked]:
        """Progress and findings as they come, the summary last. Raises what a store raises."""
        async for step in self._steps():
            yield step
            if len(self._suspects) >= _MOST_SUSPECTS:
                async for found in self._judged():
                    yield found
        async for found in self._judged():
            yield found
        boards, members = len({part.board for part in self._members}), sum(self._members.values())
        yield Checked(self._rows, self._players, boards, members, self._findings)

    async def _steps(self) -> AsyncIterator[At]:
        rows, _ = await self._store.count()
        page: list[Fold] = []
        shown = 0
        async for fold in self._players_of_ledger():
            page.append(fold)
            if len(page) >= _PAGE:
                await self._compare(page)
                page = []
            if self._rows - shown >= _PROGRESS_EVERY:
                shown = self._rows
                yield At("folding the ledger", shown, max(rows, shown))
        await self._compare(page)
        yield At("folding the ledger", self._rows, self._rows)
        split = self._placing.catalog.split
        # Keys of boards that were hashed otherwise before are read by nobody.
        parts = [part async for part in parts_in(self._redis, self._now()) if part in split.parts(part.board)]
        for done, part in enumerate(parts):
            yield At(f"checking {part.key}", done, len(parts))
            await self._strangers(part)
        yield At("checking boards", len(parts), len(parts))

    async def _players_of_ledger(self) -> AsyncIterator[Fold]:
        """Each player's fold of the whole ledger. Folds come in the order of players too, and are held beside it."""
        written = self._store.all_folds(in_order=True)
        waiting = await anext(written, None)
        async for chain in _by_player(self._store.chains()):
            user_id, known_by = chain[0].user_id, chain[0].chain
            while waiting is not None and waiting.chain < known_by:
                self._suspects[_Suspect(waiting.user_id, None)] = None
                waiting = await anext(written, None)
            mine = None
            if waiting is not None and waiting.chain == known_by:
                mine, waiting = waiting, await anext(written, None)
            self._rows += len(chain)
            self._players += 1
            fold, wrong = self._folded(user_id, chain, mine)
            if wrong or mine is None or mine.revision < fold.revision:
                self._suspects[_Suspect(user_id, None)] = None
            yield fold
        while waiting is not None:
            self._suspects[_Suspect(waiting.user_id, None)] = None
            waiting = await anext(written, None)

    async def _compare(self, folds: Sequence[Fold]) -> None:
        """The value of each player on each of his boards."""
        asked: dict[Part, list[tuple[str, float]]] = {}
        now, split = self._now(), self._placing.catalog.split
        for fold in folds:
            for board in self._placing.boards_of(fold):
                found = self._placing.standing(fold, board)
                if found is not None and is_kept(board, now, self._retention):
                    asked.setdefault(split.part(board, fold.user_id), []).append((fold.user_id, found.value))
        commands = [("ZMSCORE", part.key, *(user_id for user_id, _ in players)) for part, players in asked.items()]
        answers = await together(self._redis, commands)
        for (part, players), values in zip(asked.items(), answers, strict=True):
            for (user_id, expected), value in zip(players, values, strict=True):
                self._members[part] += expected > 0
                if (value or 0.0) != expected:
                    self._suspects[_Suspect(user_id, part.board)] = None

    async def _strangers(self, part: Part) -> None:
        """Members of a key whom the ledger does not have there.

        All who should be there were asked for one by one; if there are no more, nobody else is.
        """
        if await self._redis.zcard(part.key) == self._members[part]:
            return
        page: list[str] = []
        async for member, _ in self._redis.zscan_iter(part.key, count=_PAGE):
            page.append(member.decode(errors="replace"))
            if len(page) >= _PAGE:
                await self._unknown(part.board, page)
                page = []
        await self._unknown(part.board, page)

    async def _unknown(self, board: Board, user_ids: Sequence[str]) -> None:
        folds = await self._store.exact_folds(user_ids) if user_ids else {}
        for user_id, fold in folds.items():
            found = self._placing.standing(fold, board)
            if found is None or found.value <= 0:
                self._suspects[_Suspect(user_id, board)] = None

    async def _judged(self) -> AsyncIterator[Found]:
        """What is still wrong about the suspects when nothing about them can be in flight any more."""
        for last in range(_ROUNDS):
            if not self._suspects:
                return
            await asyncio.sleep(self._in_flight.total_seconds())
            suspects, self._suspects = self._suspects, {}
            for suspect in suspects:
                findings, young = await self._judge(suspect)
                if findings and young and last < _ROUNDS - 1:
                    self._suspects[suspect] = None
                    continue
                for found in findings:
                    self._findings += 1
                    yield found

    async def _judge(self, suspect: _Suspect) -> tuple[list[Found], bool]:
        """What is wrong, and whether the player's last row is so young that it may be on its way."""
        user_id, board = suspect
        flushed_to = await self._meta.flushed_to()
        written = (await self._store.folds([user_id])).get(user_id)
        chain = [row async for row in self._store.rows_after({user_id: 0})]
        fold, findings = self._folded(user_id, chain, written)
        # The first row that is not in what is written. It may wait there, though its worker be dead, unless that worker
        # has said that everything so old is written.
        unwritten = chain[0 if written is None else written.revision :]
        if unwritten and (flushed_to is None or unwritten[0].recorded_at < flushed_to):
            findings.append(Found("total", user_id, f"what is written is behind revision {fold.revision}"))
        young = bool(chain) and self._is_young(chain[-1])
        if board is None:
            return findings, young
        found = self._placing.standing(fold, board)
        expected = 0.0 if found is None else found.value
        value = await self._redis.zscore(self._placing.catalog.split.part(board, user_id).key, user_id) or 0.0
        if value == expected:
            return [], young
        detail = f"player {user_id} stands at {points_of(value)} ({value!r}), the ledger says {expected!r}"
        return [Found("board", board.text, detail)], young

    def _folded(self, user_id: str, chain: Sequence[Row], written: Fold | None) -> tuple[Fold, list[Found]]:
        """The fold of a whole chain, and what is wrong with the chain or with what is written of it.

        A chain is followed as far as it holds.
        """
        fold = self._store.unscored(user_id)
        if written is not None:
            written = written._replace(user_id=user_id)
        findings: list[Found] = []
        for row in chain:
            if row.hash != row_hash(row) or not self._is_named(row):
                findings.append(Found("event", row.event_id, f"row {row.revision} of {user_id} was changed"))
            try:
                after = apply(fold, row)
            except ValueError as error:
                findings.append(Found("chain", user_id, str(error)))
                return fold, findings
            if row.old_total != fold.total.points or row.total.points != clamped(row.old_total + row.delta):
                findings.append(Found("total", user_id, f"row {row.revision} is not the total before it and its delta"))
            fold = after
            if written is not None and written.revision == fold.revision and written != fold:
                findings.append(Found("total", user_id, f"what is written at revision {fold.revision} differs"))
        if written is not None and written.revision > fold.revision:
            findings.append(Found("chain", user_id, f"the ledger ends at {fold.revision}, not at {written.revision}"))
        return fold, findings

    def _is_named(self, row: Row) -> bool:
        """Whether the names in a row are those that it was hashed with, unless they are erased."""
        change = row.change
        if change is None or is_pseudonym(row.user_id):
            return True
        return change.seal == self._store.seals.words(row.user_id, change.actor, change.reason)

    def _is_young(self, row: Row) -> bool:
        return row.recorded_at > milliseconds_of(self._now() - self._in_flight)


async def _by_player(rows: AsyncIterator[Row]) -> AsyncIterator[list[Row]]:
    chain: list[Row] = []
    async for row in rows:
        if chain and chain[0].chain != row.chain:
            yield chain
            chain = []
        chain.append(row)
    if chain:
        yield chain
