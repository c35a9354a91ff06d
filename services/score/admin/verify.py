"""Verifies everything derived against the ledger: totals, chains, folds and boards, member by member; and closed boards
against their signed heads.

Changes nothing. One pass reads the chains by player beside the folds in the same order, and reads each player's value on
each of their boards. Then each board is searched for members that do not belong there. Memory is a page of players.

Events are counted meanwhile, so a difference is only a suspect at first. It is checked again, with everything about that
player read again, after the time that a batch takes from its insert to its boards and folds; and again for as long as the
player's last row is younger than that.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from redis.asyncio import Redis

from services.boards.board import Board
from services.boards.encoding import points_of
from services.boards.proofs.pseudonyms import is_pseudonym
from services.boards.sharding import Shard, shown_metadata
from services.runtime.clock import milliseconds_of
from services.runtime.int32 import int32
from services.runtime.stores.redis_scripts import together
from services.score.admin.head_audit import HeadAudit
from services.score.admin.progress import Progress
from services.score.coordination_store import CoordinationStore
from services.score.ledger.counters.totals import totals_of
from services.score.ledger.folds.fold import Fold, apply
from services.score.ledger.rows import Row, row_hash
from services.score.ledger.seals import Seal, seal_of
from services.score.ledger.store import ScoreStore
from services.score.ledger.totals import PeriodTotals
from services.score.projection.rebuild import shards_in
from services.score.projection.shown_metadata import ShownMetadata
from services.score.projection.standings import Placement, Standing, is_kept
from services.streams import CHAIN_CORRECTED, CHAIN_SEALED

# From the insert of a row to its boards and folds, on a busy machine.
IN_FLIGHT = timedelta(seconds=5)
_PAGE = 500
_MAX_SUSPECTS = 5000
_ROUNDS = 12
_PROGRESS_EVERY = 2000


class Finding(NamedTuple):
    """A difference from the ledger: `kind` is event, chain, total, board or head; `subject` the event, player or board."""

    kind: str
    subject: str
    detail: str


class VerifySummary(NamedTuple):
    """What was verified, and repaired if that was requested."""

    rows: int
    players: int
    boards: int
    members: int
    findings: int
    seals: int = 0
    mended_players: int = 0
    rebuilt_boards: int = 0


class _Suspect(NamedTuple):
    """A player, and the board where they differ; None for their chain and fold."""

    user_id: str
    board: Board | None


class Verification:
    """One verification of everything; call `run` once."""

    def __init__(
        self,
        store: ScoreStore,
        redis: Redis,
        coordination: CoordinationStore,
        placement: Placement,
        heads: HeadAudit,
        *,
        period_retention: timedelta,
        now: Callable[[], datetime],
        in_flight: timedelta = IN_FLIGHT,
    ) -> None:
        self._store = store
        self._redis = redis
        self._coordination = coordination
        self._placement = placement
        self._metadata = ShownMetadata(store.shown_rows, placement)
        self._heads = heads
        self._retention = period_retention
        self._now = now
        self._in_flight = in_flight
        self._rows = 0
        self._players = 0
        self._findings = 0
        self._members: Counter[Shard] = Counter()
        self._suspects: dict[_Suspect, None] = {}
        self._seals: list[Seal] = []

    async def run(self) -> AsyncIterator[Progress | Finding | Seal | VerifySummary]:
        """Yield progress, findings and sealed gaps, and the summary last. Raises store errors."""
        async for step in self._search():
            yield step
            if len(self._suspects) >= _MAX_SUSPECTS:
                async for finding in self._confirmed_findings():
                    yield finding
        async for finding in self._confirmed_findings():
            yield finding
        heads = await self._heads.heads()
        for done, head in enumerate(heads):
            yield Progress("checking signed heads", done, len(heads))
            if fault := await self._heads.fault(head):
                self._findings += 1
                yield Finding("head", head.board, f"signed head {head.generation}: {fault}")
        for seal in self._seals:
            yield seal
        boards, members = len({shard.board for shard in self._members}), sum(self._members.values())
        yield VerifySummary(self._rows, self._players, boards, members, self._findings, len(self._seals))

    async def _search(self) -> AsyncIterator[Progress]:
        """Collect suspects."""
        rows, _ = await self._store.count()
        page: list[Fold] = []
        reported = 0
        async for fold in self._folds_of_ledger():
            page.append(fold)
            if len(page) >= _PAGE:
                await self._compare_boards(page)
                page = []
            if self._rows - reported >= _PROGRESS_EVERY:
                reported = self._rows
                yield Progress("folding the ledger", reported, max(rows, reported))
        await self._compare_boards(page)
        yield Progress("folding the ledger", self._rows, self._rows)
        sharding = self._placement.catalog.sharding
        # Keys of a former sharding are read by nobody.
        shards = [
            shard
            async for shard in shards_in(self._redis, self._now())
            if shard in sharding.shards(shard.board) and not self._is_left(shard.board)
        ]
        for done, shard in enumerate(shards):
            yield Progress(f"checking {shard.key}", done, len(shards))
            await self._find_strangers(shard)
        yield Progress("checking boards", len(shards), len(shards))

    def _is_left(self, board: Board) -> bool:
        """Whether a board is as it was when its count ended: archived, or the copy for a freeze that was removed."""
        definition = self._placement.catalog.definition_of(board)
        return board.is_until_freeze if definition is None else definition.state == "archived"

    async def _folds_of_ledger(self) -> AsyncIterator[Fold]:
        """Yield each player's fold of the whole ledger. Stored folds, which come in the same order, are compared."""
        stored_folds = self._store.all_folds(in_order=True)
        next_stored = await anext(stored_folds, None)
        async for rows in _by_player(self._store.chains()):
            user_id, chain = rows[0].user_id, rows[0].chain
            while next_stored is not None and next_stored.chain < chain:
                self._suspects[_Suspect(next_stored.user_id, None)] = None
                next_stored = await anext(stored_folds, None)
            stored = None
            if next_stored is not None and next_stored.chain == chain:
                stored, next_stored = next_stored, await anext(stored_folds, None)
            self._rows += len(rows)
            self._seals += (seal_of(row) for row in rows if row.kind == CHAIN_SEALED)
            self._players += 1
            fold, findings = self._fold_chain(user_id, rows, stored)
            if findings or stored is None or stored.revision < fold.revision:
                self._suspects[_Suspect(user_id, None)] = None
            yield fold
        while next_stored is not None:
            self._suspects[_Suspect(next_stored.user_id, None)] = None
            next_stored = await anext(stored_folds, None)

    async def _compare_boards(self, folds: Sequence[Fold]) -> None:
        """Compare the value and the metadata of each player on each of their boards."""
        expected: dict[Shard, list[Standing]] = {}
        now, sharding = self._now(), self._placement.catalog.sharding
        for fold in folds:
            for board in self._placement.boards_of(fold):
                standing = self._placement.standing(fold, board)
                if standing is not None and is_kept(self._placement.catalog, board, now, self._retention):
                    expected.setdefault(sharding.shard_of(board, fold.user_id), []).append(standing)
        commands = [
            ("ZMSCORE", shard.key, *(each.user_id for each in standings)) for shard, standings in expected.items()
        ]
        replies = await together(self._redis, commands)
        for (shard, standings), values in zip(expected.items(), replies, strict=True):
            for standing, value in zip(standings, values, strict=True):
                self._members[shard] += standing.value > 0
                if (value or 0.0) != standing.value:
                    self._suspects[_Suspect(standing.user_id, shard.board)] = None
        await self._compare_metadata(expected)

    async def _compare_metadata(self, expected: Mapping[Shard, Sequence[Standing]]) -> None:
        shown = await self._metadata.of(each for standings in expected.values() for each in standings)
        concerned = [
            (shard, each)
            for shard, standings in expected.items()
            for each in standings
            if (each.board, each.user_id) in shown
        ]
        replies = await together(self._redis, [("HGET", shard.shown_key, each.user_id) for shard, each in concerned])
        for (_, each), stored in zip(concerned, replies, strict=True):
            if shown_metadata(stored) != shown[each.board, each.user_id]:
                self._suspects[_Suspect(each.user_id, each.board)] = None

    async def _find_strangers(self, shard: Shard) -> None:
        """Find members of a key that the ledger does not have there.

        Every expected member was compared one by one; if the key has no more members, it has no others.
        """
        if await self._redis.zcard(shard.key) == self._members[shard]:
            return
        page: list[str] = []
        async for member, _ in self._redis.zscan_iter(shard.key, count=_PAGE):
            page.append(member.decode(errors="replace"))
            if len(page) >= _PAGE:
                await self._compare_members(shard.board, page)
                page = []
        await self._compare_members(shard.board, page)

    async def _compare_members(self, board: Board, user_ids: Sequence[str]) -> None:
        folds = await self._store.current_folds(user_ids) if user_ids else {}
        for user_id, fold in folds.items():
            standing = self._placement.standing(fold, board)
            if standing is None or standing.value <= 0:
                self._suspects[_Suspect(user_id, board)] = None

    async def _confirmed_findings(self) -> AsyncIterator[Finding]:
        """Yield what is still wrong about the suspects once nothing about them can be in flight."""
        for round_number in range(_ROUNDS):
            if not self._suspects:
                return
            await asyncio.sleep(self._in_flight.total_seconds())
            suspects, self._suspects = self._suspects, {}
            for suspect in suspects:
                findings, is_recent = await self._check(suspect)
                if findings and is_recent and round_number < _ROUNDS - 1:
                    self._suspects[suspect] = None
                    continue
                for finding in findings:
                    self._findings += 1
                    yield finding

    async def _check(self, suspect: _Suspect) -> tuple[list[Finding], bool]:
        """Return what is wrong, and whether the player's last row is so recent that it may still be in flight."""
        user_id, board = suspect
        flushed_to = await self._coordination.flushed_to()
        stored = (await self._store.folds([user_id])).get(user_id)
        rows = [row async for row in self._store.rows_after({user_id: 0})]
        fold, findings = self._fold_chain(user_id, rows, stored)
        # The first row that the stored fold lacks. It may be waiting for a flush, even of a dead worker, unless all rows
        # that old are reported as flushed.
        unflushed = [row for row in rows if stored is None or row.revision > stored.revision]
        if unflushed and (flushed_to is None or unflushed[0].recorded_at < flushed_to):
            findings.append(Finding("total", user_id, f"the stored total is older than revision {fold.revision}"))
        is_recent = bool(rows) and self._is_recent(rows[-1])
        if board is None:
            return findings, is_recent
        standing = self._placement.standing(fold, board)
        expected = 0.0 if standing is None else standing.value
        shard = self._placement.catalog.sharding.shard_of(board, user_id)
        value = await self._redis.zscore(shard.key, user_id) or 0.0
        if value != expected:
            detail = f"player {user_id} stands at {points_of(value)} ({value!r}), the ledger says {expected!r}"
            return [Finding("board", board.name, detail)], is_recent
        shown = (await self._metadata.of(filter(None, [standing]))).get((board, user_id))
        held: Any = await self._redis.hget(shard.shown_key, user_id) if shown is not None else None
        if shown_metadata(held) == (shown or ""):
            return [], is_recent
        return [Finding("board", board.name, f"player {user_id} has other metadata than the ledger says")], is_recent

    def _fold_chain(self, user_id: str, rows: Sequence[Row], stored: Fold | None) -> tuple[Fold, list[Finding]]:
        """Return the fold of a whole chain, and what is wrong with the chain or the stored fold.

        A broken chain is followed up to the break.
        """
        fold = self._store.empty_fold(user_id)
        if stored is not None:
            stored = stored._replace(user_id=user_id)
        findings: list[Finding] = []
        uncorrected: set[str] = set()
        for row in rows:
            if row.hash != row_hash(row) or not self._texts_match_digest(row):
                findings.append(Finding("event", row.event_id, f"row {row.revision} of {user_id} was changed"))
            try:
                after = apply(fold, row)
            except ValueError as error:
                findings.append(Finding("chain", user_id, str(error)))
                return fold, findings
            total = row.old_total + row.delta
            # Earlier versions clamped totals.
            if row.old_total != fold.total.points or row.total.points not in (total, int32(total)):
                findings.append(Finding("total", user_id, f"row {row.revision} is not the former total plus its delta"))
            if row.kind == CHAIN_SEALED:
                uncorrected.add(row.event_id)
            elif row.kind == CHAIN_CORRECTED and row.change is not None:
                uncorrected.discard(row.change.voids)
            fold = after
            if stored is not None and stored.revision == fold.revision and stored != fold:
                findings.append(Finding("total", user_id, f"the stored total differs at revision {fold.revision}"))
        findings += self._counter_findings(user_id, fold, rows)
        if uncorrected:
            findings.append(Finding("chain", user_id, "the totals still have what the rows of a sealed gap had added"))
        if stored is not None and stored.revision > fold.revision:
            findings.append(
                Finding("chain", user_id, f"the ledger ends at revision {fold.revision}, not at {stored.revision}")
            )
        return fold, findings

    def _counter_findings(self, user_id: str, fold: Fold, rows: Sequence[Row]) -> list[Finding]:
        """Return which numbered counters of a whole chain are not what all of its rows say."""
        wrong = [
            counter.number
            for counter in self._placement.counters.all
            if counter.number <= fold.complete_through
            and _points(fold.counters.get(counter.key, {})) != _points(totals_of(counter, rows))
        ]
        return [Finding("total", user_id, f"counter {number} is not what the rows say") for number in wrong]

    def _texts_match_digest(self, row: Row) -> bool:
        """Return whether the texts of a change are the ones that the row was hashed with, or are erased."""
        change = row.change
        if change is None or is_pseudonym(row.user_id):
            return True
        digest = self._store.digests.change(row.user_id, change.actor, change.reason, change.metadata)
        return change.digest == digest

    def _is_recent(self, row: Row) -> bool:
        return row.recorded_at > milliseconds_of(self._now() - self._in_flight)


def _points(totals: PeriodTotals) -> dict[str, int]:
    return {period: total.points for period, total in totals.items() if total.points}


async def _by_player(rows: AsyncIterator[Row]) -> AsyncIterator[list[Row]]:
    chain: list[Row] = []
    async for row in rows:
        if chain and chain[0].chain != row.chain:
            yield chain
            chain = []
        chain.append(row)
    if chain:
        yield chain
