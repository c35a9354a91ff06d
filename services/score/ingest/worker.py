"""Counts a batch of events: ledger, then boards, then `score.events`. Only then may the caller acknowledge.

Guarantees, step by step:

0. An event that was recorded on former data, before a backup was put back, counts only as it is on record now.
1. Find which events the ledger already has, by a majority read. A batch of first deliveries skips the read: hardly any can
   be counted, and the unique indexes of the ledger find those that are.
2. Read the row that each player's next one follows; if one is missing, MongoDB holds other data than this process knows:
   nothing is inserted, all caches are dropped, and the batch starts over. Then insert the next row of each player's chain,
   with majority and journal, into the collection that was read and no other. If another primary took the rows, the read is
   repeated, and rows that follow none are removed before anything else is done.
   - Duplicate event id: the event was counted before. Its player's current fold goes on to steps 3 to 5 like any other,
     because the worker that inserted the row may have died before those.
   - Duplicate revision: another worker counted the same player. Their chain is read and the row is built again.
   - Unknown outcome (time-out, lost connection, write-concern error): nothing goes to Redis. The batch's players are
     suspect, so the ledger is read before they are used again, and the whole batch starts over at the majority read.
3. Write boards. Absolute values make a repeated write harmless. A player whose standing may fall is fenced, and the ledger
   is read again until it has no later revision. A batch that started too long ago to trust fences starts over.
4. Publish `score.events`; beside 3 and 4, record the origins of the actions.
5. Judge the events by the rules of fair play, which never fails or delays the batch; store the deliveries of blocks to
   webhooks.

An event whose content cannot be counted is found by halving the batch, so that all others are counted.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from services.boards.board import Board
from services.boards.proofs.pseudonyms import is_pseudonym
from services.runtime.errors import ServiceError
from services.runtime.telemetry import tracing
from services.score.errors import ReplacedDataError, RetryableError
from services.score.fairplay.monitor import FairPlayMonitor
from services.score.ingest.ack_policy import COUNTING_ERRORS, is_outage
from services.score.ingest.record_check import RecordCheck
from services.score.ledger.counters.added import lacks_counters
from services.score.ledger.counters.numbered import Counters
from services.score.ledger.events import Event
from services.score.ledger.folds.cache import Basis, FoldCache
from services.score.ledger.folds.fold import Fold, apply, next_row
from services.score.ledger.history import MAX_ROWS, UNKNOWN, History, HistoryRequiredError
from services.score.ledger.rows import Row
from services.score.ledger.store import CountedEvent, InsertResult, ScoreStore
from services.score.metrics import CONFLICTS, COUNTED_AGAIN, COUNTED_NEW
from services.score.projection.board_writer import BoardWriter, Standings, TooOldError
from services.score.projection.loss_detection import BatchStart, LossDetector
from services.score.projection.publisher import ScorePublisher, ScoreUpdate
from services.score.projection.standings import Placement, Standing, can_lower, lowers_quiz
from services.score.webhooks.announcer import Announcer
from services.streams import PLAYER_ERASED

_MIN_PAUSE, _MAX_PAUSE = 0.05, 2.0
_MAX_CONFLICTS = 50
# Up to this many players with further rows get an ordered insert each; more are inserted round by round.
_ORDERED_INSERTS = 4
# How many rows of a player are read to tell when a total was reached: few are nearly always enough.
_HISTORY_ROWS = (32, 512, MAX_ROWS)
# A row that waited this long for its insert gets a new stamp; see `MARGIN` of `folds.cache`.
_STAMP_MS = 10_000
_log = structlog.get_logger("worker")


class Worker:
    """Counts events. Safe to use concurrently, within a process and across processes. `now` returns milliseconds."""

    def __init__(
        self,
        store: ScoreStore,
        folds: FoldCache,
        writer: BoardWriter,
        publisher: ScorePublisher,
        loss_detector: LossDetector,
        fair_play: FairPlayMonitor,
        placement: Placement,
        records: RecordCheck,
        announcer: Announcer,
        now: Callable[[], int],
    ) -> None:
        self._store = store
        self._folds = folds
        self._writer = writer
        self._publisher = publisher
        self._loss_detector = loss_detector
        self._fair_play = fair_play
        self._placement = placement
        self._records = records
        self._announcer = announcer
        self._now = now

    async def count(self, events: Sequence[Event], *, first_delivery: bool = False) -> dict[str, Exception]:
        """Count every event exactly once. Waits for unavailable stores as long as it takes.

        `first_delivery` means that no event was delivered before. Returns the events that were not counted, by id, with
        their errors; `ack_policy` decides about them. Counting an event again changes nothing. After a cancellation, any
        of the events may have been counted.
        """
        refused: dict[str, Exception] = {}
        unique = {event.event_id: event for event in events}
        with self._folds.inserting():
            await self._count_or_halve(list(unique.values()), refused, first_delivery=first_delivery)
        if self._folds.over_capacity:
            await self._folds.flush()
        return refused

    async def _count_or_halve(
        self, events: list[Event], refused: dict[str, Exception], *, first_delivery: bool
    ) -> None:
        pause = _MIN_PAUSE
        while True:
            # After any failure some events may be in the ledger, and none of those may be refused: read it from then on.
            is_first, first_delivery = first_delivery, False
            try:
                with self._placement.writing():
                    return await self._count_once(events, first_delivery=is_first)
            except TooOldError:
                continue
            except ReplacedDataError as error:
                _log.warning("batch starts over on other data", reason=str(error), events=len(events))
            except ServiceError as error:
                _log.warning("records of former events unknown, retrying", reason=error.reason, events=len(events))
            except COUNTING_ERRORS as error:
                self._folds.suspect(event.user_id for event in events)
                if is_first:
                    continue
                if not is_outage(error):
                    middle = len(events) // 2
                    if not middle:
                        refused[events[0].event_id] = error
                        return None
                    await self._count_or_halve(events[:middle], refused, first_delivery=False)
                    return await self._count_or_halve(events[middle:], refused, first_delivery=False)
                _log.warning("store unavailable, retrying", error=type(error).__name__, events=len(events))
            await asyncio.sleep(pause)
            pause = min(2 * pause, _MAX_PAUSE)

    async def _count_once(self, events: Sequence[Event], *, first_delivery: bool) -> None:
        batch = await self._loss_detector.start_batch()
        basis = self._folds.basis()
        events = await self._records.countable(events)
        event_ids = [event.event_id for event in events]
        counted = {} if first_delivery else await self._store.counted_events(event_ids)
        folds = await self._folds.load({event.user_id for event in events})
        outdated = {event.user_id for event in events if event.event_id in counted}
        if self._placement.is_built:  # then a fold without a counter is from before the player got it
            outdated |= {user_id for user_id, fold in folds.items() if lacks_counters(fold, self._placement.counters)}
        if outdated:
            folds |= await self._folds.refresh(outdated)
        repeated = len(counted)
        with tracing.step("ledger"):
            uncounted = [event for event in events if event.event_id not in counted]
            players = {event.user_id for event in uncounted}
            await self._folds.require_last_rows((folds[user_id] for user_id in players), basis)
            repeated += await self._insert(uncounted, folds, counted, basis)
        with tracing.step("boards"):
            await self._project(events, folds, counted, batch)
        COUNTED_NEW.inc(len(events) - repeated)
        COUNTED_AGAIN.inc(repeated)

    async def _insert(
        self, events: Iterable[Event], folds: dict[str, Fold], counted: dict[str, CountedEvent], basis: Basis
    ) -> int:
        """Insert a row for each event. Adds every event to `counted`, and the players' folds after it to `folds`.

        Returns how many of the events had been counted before.
        """
        repeated = 0
        pending: dict[str, list[Event]] = {}
        for event in events:
            pending.setdefault(event.user_id, []).append(event)
        for _ in range(_MAX_CONFLICTS):
            if not pending:
                break
            conflicts = await self._insert_chains(pending, folds, counted, basis)
            if conflicts:
                CONFLICTS.inc(len(conflicts))
                folds |= await self._folds.refresh(conflicts)
                # An event that another worker counted meanwhile has the revision of that row, not the one tried here.
                uncounted = [e.event_id for user in conflicts for e in pending[user] if e.event_id not in counted]
                counted_meanwhile = await self._store.counted_events(uncounted)
                repeated += len(counted_meanwhile)
                counted |= counted_meanwhile
            remaining = {user: [e for e in pending[user] if e.event_id not in counted] for user in conflicts}
            pending = {user: events for user, events in remaining.items() if events}
        if pending:
            raise RetryableError("Other workers keep counting the same player.")
        return repeated

    async def _insert_chains(
        self,
        pending: Mapping[str, Sequence[Event]],
        folds: dict[str, Fold],
        counted: dict[str, CountedEvent],
        basis: Basis,
    ) -> set[str]:
        """Insert as many rows as possible on top of `folds`. Return the players whose fold was behind the ledger.

        The first rows of all players are one unordered insert. A player's further rows follow only after the former one is
        acknowledged, so that a chain never has a gap.
        """
        stamp = self._now()
        chains = {user: await self._chain(folds[user], events, stamp) for user, events in pending.items()}
        conflicts: set[str] = set()
        before = [folds[user] for user in pending]
        inserted: list[Row] = []
        depth = 0
        while chains:
            if self._now() - stamp > _STAMP_MS:
                conflicts.update(chains)
                break
            if depth and len(chains) <= _ORDERED_INSERTS:
                pieces = [[row for row, _ in chain[depth:]] for chain in chains.values()]
                results = await asyncio.gather(*(self._folds.insert(rows, basis, in_order=True) for rows in pieces))
            else:
                firsts = [chain[depth][0] for chain in chains.values()]
                results = [[result] for result in await self._folds.insert(firsts, basis)]
            unfinished: dict[str, list[tuple[Row, Fold]]] = {}
            for (user, chain), chain_results in zip(chains.items(), results, strict=True):
                for (row, fold), result in zip(chain[depth:], chain_results, strict=False):
                    if result is not InsertResult.INSERTED:
                        conflicts.add(user)
                        break
                    inserted.append(row)
                    lowers = lowers_quiz(folds[user], fold, row.quiz_id) or self._placement.may_lower(row)
                    counted[row.event_id] = CountedEvent(user, row.revision, row.total.points, row.moved_from, lowers)
                    folds[user] = fold
                    self._folds.put(fold)
                if user not in conflicts and depth + len(chain_results) < len(chain):
                    unfinished[user] = chain
            chains = unfinished
            depth += 1
        await self._folds.confirm_insert(inserted, before, basis)
        return conflicts

    async def _chain(self, fold: Fold, events: Sequence[Event], stamp: int) -> list[tuple[Row, Fold]]:
        """Return a row for each event, each with the fold after it. Reads the player's latest rows only if it must."""
        history = UNKNOWN
        closed_through, counters = self._placement.agreement.closed_through, self._placement.counters
        for limit in _HISTORY_ROWS:
            try:
                return _chain(fold, events, stamp, closed_through, history, counters)
            except HistoryRequiredError:
                rows = await self._store.rows_before(fold.user_id, fold.revision + 1, limit)
                history = History(rows[::-1], is_all=limit == MAX_ROWS or not rows or rows[-1].revision == 1)
        return _chain(fold, events, stamp, closed_through, history, counters)

    async def _project(
        self,
        events: Sequence[Event],
        folds: Mapping[str, Fold],
        counted: Mapping[str, CountedEvent],
        batch: BatchStart,
    ) -> None:
        """Write boards and publish `score.events`; beside that, record origins; then judge by the rules of fair play."""
        # A row with a pseudonym belongs to a player whose erasure is complete: they are on no board and are not published.
        events = [event for event in events if not is_pseudonym(counted[event.event_id].user_id)]
        lowered = {event.user_id for event in events if can_lower(event) or counted[event.event_id].may_lower}
        boards: defaultdict[Board, dict[str, Standing]] = defaultdict(dict)
        updates: list[ScoreUpdate] = []
        for event in events:
            user_id = event.user_id
            fold = folds[user_id]
            entry = counted[event.event_id]
            affected = self._placement.affected_boards(fold, event)
            standings = self._placement.standings(fold, affected, lowered=user_id in lowered)
            if entry.moved_from:
                standings += self._placement.removals(fold, entry.moved_from)
            for standing in standings:
                boards[standing.board][user_id] = standing
            if not fold.erased or event.kind == PLAYER_ERASED:
                updates.append(ScoreUpdate(event, entry.revision, entry.total, fold.country, standings))
        by_board = {board: standings.values() for board, standings in boards.items()}
        revisions = {user_id: folds[user_id].revision for user_id in lowered}
        # No personal data of an erased player is recorded any more.
        not_erased = [event for event in events if not folds[event.user_id].erased]
        # Both are awaited to their end even if one fails. Boards do not wait for the origins.
        for outcome in await asyncio.gather(
            self._write_and_publish(by_board, revisions, updates, batch),
            self._store.origins.add(not_erased),
            return_exceptions=True,
        ):
            if isinstance(outcome, BaseException):
                raise outcome
        await self._fair_play.review(not_erased, folds)
        await self._announcer.announce_blocks(not_erased)

    async def _write_and_publish(
        self, standings: Standings, lowered: Mapping[str, int], updates: Sequence[ScoreUpdate], batch: BatchStart
    ) -> None:
        started_at, generation = batch
        await self._writer.write(standings, started_at=started_at, generation=generation)
        if lowered:
            await self._writer.confirm_lowered(
                lowered, self._folds.refresh, started_at=started_at, generation=generation
            )
        await self._publisher.publish(updates)


def _chain(
    fold: Fold, events: Iterable[Event], stamp: int, closed_through: int, history: History, counters: Counters
) -> list[tuple[Row, Fold]]:
    """Return a row for each event, each with the fold after it. Raises HistoryRequiredError."""
    chain: list[tuple[Row, Fold]] = []
    for event in events:
        row = next_row(fold, event, stamp, closed_through, history, counters)
        history = history.after(row)
        fold = apply(fold, row)
        chain.append((row, fold))
    return chain
