"""Counting a batch of events: the ledger, then the boards, then `score.events`. Then the caller acknowledges.

Owns the order, and what is done when a step fails:

- an event that is in the ledger already was counted before. Its player's last row goes on to boards, `score.events` and
  folds as if it were new, since the worker that inserted it may have died in between. The ledger's own index tells, so it
  is not read first for what was never delivered before;
- a revision that is taken means that another worker counts the same player: his chain is read and the row made again;
- a store that does not answer leaves the outcome of a write unknown: nothing goes to Redis, those players are doubted,
  and the whole batch begins again from what a majority has, until it is through;
- an event that fails by its content is found by halving the batch, so that all others are counted.

Must never answer for an event that is not through every step.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from services.runtime import tracing
from services.runtime.boards import Board
from services.runtime.erased import is_pseudonym
from services.score.answers import ANSWERED, Answer, LaterError, answer_to
from services.score.board_writer import BoardWriter, Standings, TooOldError
from services.score.events import Counted
from services.score.fold import Folds
from services.score.generation import Generation, Moment
from services.score.ledger import PLAYER_ERASED, Event, Fold, Row, apply, next_row
from services.score.metrics import CONFLICTS, COUNTED_AGAIN, COUNTED_NEW
from services.score.publisher import ScorePublisher
from services.score.referee import Referee
from services.score.standings import Placing, Standing, lowers
from services.score.store import Fate, Known, ScoreStore

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_CONFLICTS_IN_A_ROW = 50
# Below this many players with further rows, an ordered insert each; above it, round by round.
_FEW = 4
# A row that waited longer than this for its insert gets a new stamp; see `fold.MARGIN`.
_STAMP_MS = 10_000
_log = structlog.get_logger("worker")


class Worker:
    """Counts events; several at once in one process may, and in many. `now` is in milliseconds."""

    def __init__(
        self,
        store: ScoreStore,
        folds: Folds,
        writer: BoardWriter,
        publisher: ScorePublisher,
        generation: Generation,
        referee: Referee,
        placing: Placing,
        now: Callable[[], int],
    ) -> None:
        self._store = store
        self._placing = placing
        self._folds = folds
        self._writer = writer
        self._publisher = publisher
        self._generation = generation
        self._referee = referee
        self._now = now

    async def count(self, events: Sequence[Event], *, are_new: bool = False) -> dict[str, Exception]:
        """Counts every event exactly once and shows it. Waits for stores that are away as long as it takes.

        `are_new` says that hardly any can be in the ledger: it is asked about those alone that it refuses. Returns the ids
        of the events that were not counted, each with what it raised: LATER or NEVER by `answers`. Counting again what was
        counted changes nothing. If it is cancelled, events may have been counted or not.
        """
        refused: dict[str, Exception] = {}
        unique = {event.event_id: event for event in events}
        with self._folds.inserting():
            await self._count_or_halve(list(unique.values()), refused, are_new=are_new)
        if self._folds.crowded:
            await self._folds.flush()
        return refused

    async def _count_or_halve(self, events: list[Event], refused: dict[str, Exception], *, are_new: bool) -> None:
        pause = _FIRST_PAUSE
        while True:
            # Whatever went wrong, some may be in the ledger by now; none of those may be refused.
            guessed, are_new = are_new, False
            try:
                with self._placing.writing():
                    return await self._count_once(events, are_new=guessed)
            except TooOldError:
                continue
            except ANSWERED as error:
                self._folds.doubt(event.user_id for event in events)
                if guessed:
                    continue
                if answer_to(error) is not Answer.AGAIN:
                    break_at = len(events) // 2
                    if not break_at:
                        refused[events[0].event_id] = error
                        return None
                    await self._count_or_halve(events[:break_at], refused, are_new=False)
                    return await self._count_or_halve(events[break_at:], refused, are_new=False)
                _log.warning("a store does not answer, trying again", error=type(error).__name__, events=len(events))
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _count_once(self, events: Sequence[Event], *, are_new: bool) -> None:
        moment = await self._generation.begin()
        counted = {} if are_new else await self._store.known([event.event_id for event in events])
        folds = await self._folds.load({event.user_id for event in events})
        if counted:
            folds |= await self._folds.refresh({event.user_id for event in events if event.event_id in counted})
        again = len(counted)
        with tracing.step("ledger"):
            again += await self._insert([event for event in events if event.event_id not in counted], folds, counted)
        with tracing.step("boards"):
            await self._show(events, folds, counted, moment)
        COUNTED_NEW.inc(len(events) - again)
        COUNTED_AGAIN.inc(again)

    async def _insert(self, events: Iterable[Event], folds: dict[str, Fold], counted: dict[str, Known]) -> int:
        """Inserts a row for each event and leaves in `folds` the players' standings after it, in `counted` all events.

        Returns how many had a row already.
        """
        again = 0
        waiting: dict[str, list[Event]] = {}
        for event in events:
            waiting.setdefault(event.user_id, []).append(event)
        for _ in range(_CONFLICTS_IN_A_ROW):
            if not waiting:
                break
            old = await self._insert_chains(waiting, folds, counted)
            if old:
                CONFLICTS.inc(len(old))
                folds |= await self._folds.refresh(old)
                # What another worker counted in the meantime has its revision, not the one that was tried.
                left = [e.event_id for user in old for e in waiting[user] if e.event_id not in counted]
                found = await self._store.known(left)
                again += len(found)
                counted |= found
            uncounted = {user: [e for e in waiting[user] if e.event_id not in counted] for user in old}
            waiting = {user: events for user, events in uncounted.items() if events}
        if waiting:
            raise LaterError("other workers count the same player all the time")
        return again

    async def _insert_chains(
        self, waiting: Mapping[str, Sequence[Event]], folds: dict[str, Fold], counted: dict[str, Known]
    ) -> set[str]:
        """Inserts what can be on top of `folds`. Returns the players of whom the ledger has more than was known."""
        stamp = self._now()
        closed = self._placing.terms.closed_through
        chains = {user: _chain(folds[user], events, stamp, closed) for user, events in waiting.items()}
        old: set[str] = set()
        depth = 0
        while chains:
            if self._now() - stamp > _STAMP_MS:
                old.update(chains)
                break
            if depth and len(chains) <= _FEW:
                pieces = [[row for row, _ in chain[depth:]] for chain in chains.values()]
                fates = await asyncio.gather(*(self._store.insert(rows, in_order=True) for rows in pieces))
            else:
                fates = [[fate] for fate in await self._store.insert([chain[depth][0] for chain in chains.values()])]
            unfinished: dict[str, list[tuple[Row, Fold]]] = {}
            for (user, chain), fate_of_rows in zip(chains.items(), fates, strict=True):
                for (row, fold), fate in zip(chain[depth:], fate_of_rows, strict=False):
                    if fate is Fate.INSERTED:
                        counted[row.event_id] = Known(user, row.revision, row.total.points, row.moved_from)
                        folds[user] = fold
                        self._folds.put(fold)
                    else:
                        old.add(user)
                        break
                if user not in old and depth + len(fate_of_rows) < len(chain):
                    unfinished[user] = chain
            chains = unfinished
            depth += 1
        return old

    async def _show(
        self, events: Sequence[Event], folds: Mapping[str, Fold], counted: Mapping[str, Known], moment: Moment
    ) -> None:
        """Boards, then `score.events`, then the rules of fair play; beside them the audit log."""
        shown: defaultdict[Board, dict[str, Standing]] = defaultdict(dict)
        # What is nameless in the ledger is on no board any more, and nobody is told of it: see `erasing`.
        events = [event for event in events if not is_pseudonym(counted[event.event_id].user_id)]
        falling = {event.user_id for event in events if lowers(event)}
        facts: list[Counted] = []
        for event in events:
            user_id = event.user_id
            fold = folds[user_id]
            known = counted[event.event_id]
            found = self._placing.standings(fold, self._placing.touched(fold, event), lowered=user_id in falling)
            if known.moved_from:
                found += self._placing.left(fold, known.moved_from)
            for place in found:
                shown[place.board][user_id] = place
            if not fold.erased or event.kind == PLAYER_ERASED:
                facts.append(Counted(event, known.revision, known.total, fold.country, found))
        written = {board: places.values() for board, places in shown.items()}
        # Nothing more is kept or said of who is erased.
        kept = [event for event in events if not folds[event.user_id].erased]
        revisions = {user_id: folds[user_id].revision for user_id in falling}
        # Both are awaited to their end, whichever fails; no screen waits for the audit log.
        for outcome in await asyncio.gather(
            self._write(written, revisions, facts, moment), self._store.audit(kept), return_exceptions=True
        ):
            if isinstance(outcome, BaseException):
                raise outcome
        await self._referee.review(kept, folds)

    async def _write(
        self, places: Standings, falling: Mapping[str, int], facts: Sequence[Counted], moment: Moment
    ) -> None:
        begun_at, generation = moment
        await self._writer.write(places, begun_at=begun_at, generation=generation)
        if falling:
            await self._writer.settle(falling, self._folds.refresh, begun_at=begun_at, generation=generation)
        await self._publisher.publish(facts)


def _chain(fold: Fold, events: Iterable[Event], stamp: int, closed_through: int) -> list[tuple[Row, Fold]]:
    """A row for each event, each with the fold after it."""
    chain: list[tuple[Row, Fold]] = []
    for event in events:
        row = next_row(fold, event, stamp, closed_through)
        fold = apply(fold, row)
        chain.append((row, fold))
    return chain
