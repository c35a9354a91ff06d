"""Reseals the boards of a closed period: computes them again from the ledger as it is now, by an explicit and audited act.

Until then a closed period does not change, whatever happens to its players. A reseal leaves out blocked players, takes in
acquitted ones, and counts voids, adjustments and late events of the period. Erased players keep their places under their
pseudonyms. Players count for the country that they had in the period. A board of an archived definition is resealed alike: up
to the moment at which it was archived.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import structlog

from services.boards.board import Board
from services.boards.definition import Definition
from services.boards.encoding import ENCODING
from services.boards.periods.period import Period
from services.boards.proofs.pseudonyms import is_pseudonym, pseudonym_of
from services.runtime.clock import milliseconds_of
from services.runtime.errors import Reason, ServiceError, invalid
from services.runtime.int32 import int32
from services.score.coordination_store import CoordinationStore
from services.score.errors import store_errors_as_unavailable
from services.score.ledger.counters.numbered import NumberedCounter
from services.score.ledger.counters.totals import total_of
from services.score.ledger.folds.fold import Fold
from services.score.ledger.history import Move, latest_raise
from services.score.ledger.rows import Row
from services.score.ledger.store import ScoreStore
from services.score.ledger.totals import Total
from services.score.periods.archive_store import ArchiveStore, Member, Reseal, ResealedBoard
from services.score.projection.shown_metadata import ShownMetadata
from services.score.projection.standings import Placement, Standing, shown_value

# How far the clocks of two processes may differ.
_MARGIN: Final = timedelta(days=2)
_FOLDS_PER_QUERY: Final = 500
_ATTEMPTS: Final = 5
_log = structlog.get_logger("resealing")


class _Player(NamedTuple):
    """What a player did in the period. `country` is the one of the last row that was not late.

    `moves` are the points of every row, and `rows` those that each numbered counter includes, by its number.
    """

    user_id: str
    moves: list[Move]
    rows: Mapping[int, list[Row]]
    country: str


class _Closed(NamedTuple):
    """A closed period: the board that names it, and the definitions whose boards of this period are resealed with it.

    `is_archived` is whether it is of an archived definition: the period is the part of it that was counted until then.
    """

    board: Board
    period: Period
    definitions: Sequence[Definition]
    is_archived: bool = False

    def board_of(self, definition: Definition, country: str) -> Board | None:
        """Return the definition's board of the period for players of a country; None if it does not rank them."""
        if not definition.includes(country):
            return None
        return definition.board(country, definition.calendar.name_of(milliseconds_of(self.period.starts_at)))


class _Request(NamedTuple):
    """A reseal of the boards of a closed period, and what the ledger knows of their players: of all, or of `user_id` alone."""

    closed: _Closed
    players: Mapping[bytes, _Player]
    folds: Sequence[Fold]
    user_id: str
    actor: str
    reason: str

    @property
    def names(self) -> frozenset[str]:
        """The members of former boards whose standings are replaced, where `user_id` names one player."""
        return frozenset({self.user_id}.union(*({fold.user_id, pseudonym_of(fold.chain)} for fold in self.folds)))


class PeriodResealer:
    """`now` is the time that a reseal is recorded with."""

    def __init__(
        self,
        store: ScoreStore,
        coordination: CoordinationStore,
        archive: ArchiveStore,
        placement: Placement,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._coordination = coordination
        self._archive = archive
        self._placement = placement
        self._metadata = ShownMetadata(store.shown_rows, placement)
        self._now = now

    async def reseal(self, name: str, user_id: str, reason: str, *, actor: str) -> list[Reseal]:
        """Reseal the boards of the period of the board `name`; return those that changed.

        With a weekly or monthly board, those of all definitions with the same period follow; a defined board stands for those
        of its definition alone. With `user_id`, only this player's standings change, and the ranks of those behind. A board
        changes in one step, or not at all. Idempotent. Raises INVALID_ARGUMENT for a board that is neither archived nor of a
        closed period, and UNAVAILABLE.
        """
        closed = self._closed(name)
        async with store_errors_as_unavailable():
            await self._require_archived(closed)
            players = await self._players(closed, user_id)
            folds = [fold async for fold in self._folds(players)]
            request = _Request(closed, players, folds, user_id, actor, reason)
            reseals = [
                reseal
                for board in await self._boards(request)
                if (reseal := await self._reseal(board, request)) is not None
            ]
        _log.info("period compared with the ledger", board=name, actor=actor, boards_replaced=len(reseals))
        return reseals

    async def _require_archived(self, closed: _Closed) -> None:
        ends_at, definitions = milliseconds_of(closed.period.ends_at), closed.definitions
        if closed.is_archived:
            is_settled = all(definition.kept for definition in definitions)
        elif (await self._coordination.boards()).closed_through < ends_at:
            message = "The period is not closed yet. Its boards still change."
            raise invalid("board", message, message)
        else:
            is_settled = await self._archive.is_settled(closed.board)
        if not is_settled:
            raise ServiceError(Reason.UNAVAILABLE, "The board is being archived. Try again.")

    def _closed(self, name: str) -> _Closed:
        catalog = self._placement.catalog
        try:
            board = catalog.parse(name, self._now())
        except ValueError:
            board = Board("all")
        period, definition = catalog.period_of(board), catalog.definition_of(board)
        is_archived = definition is not None and definition.archived_at is not None
        if definition is not None and is_archived:
            period = definition.counted_until_archived(period)
        is_repeated = definition is not None and definition.calendar.is_repeated
        if period is None or (board.name != name and (is_repeated or definition is None)):
            message = "A board with its period is required, such as weekly:2026-47 or custom:daily-run:2026-11-28."
            raise invalid("board", message, message)
        if definition is not None:
            return _Closed(board, period, (definition,), is_archived=is_archived)
        start, bounds = milliseconds_of(period.starts_at), (period.starts_at, period.ends_at)
        same = []
        for each in catalog.definitions.values():
            other = each.calendar.period(each.calendar.name_of(start)) if each.calendar.counts(start) else None
            was_counted = each.archived_at is None or each.archived_at >= period.ends_at
            if was_counted and other is not None and (other.starts_at, other.ends_at) == bounds:
                same.append(each)
        return _Closed(board, period, same)

    async def _players(self, closed: _Closed, user_id: str) -> Mapping[bytes, _Player]:
        counters = {
            each.number: NumberedCounter(each.number, each.counter) for each in closed.definitions if each.number
        }
        players: dict[bytes, _Player] = {}
        latest: dict[bytes, int] = {}
        starts_at, ends_at = milliseconds_of(closed.period.starts_at), milliseconds_of(closed.period.ends_at)
        async for row in self._store.rows_of_period(starts_at, ends_at, _MARGIN, user_id):
            player = players.get(row.chain) or _Player(
                row.user_id, [], {number: [] for number in counters}, row.country
            )
            if row.delta:
                player.moves.append((row.at, row.delta))
            for number, counter in counters.items():
                if counter.includes(row):
                    player.rows[number].append(row)
            name = row.user_id if is_pseudonym(player.user_id) else player.user_id
            country = player.country
            # A late row was counted after the period was closed.
            rank = row.revision - (2**40 if row.late else 0)
            if rank >= latest.get(row.chain, -(2**41)):
                latest[row.chain], country = rank, row.country
            players[row.chain] = player._replace(user_id=name, country=country)
        return players

    async def _folds(self, players: Mapping[bytes, _Player]) -> AsyncIterator[Fold]:
        user_ids = [player.user_id for player in players.values()]
        for start in range(0, len(user_ids), _FOLDS_PER_QUERY):
            for fold in (await self._store.current_folds(user_ids[start : start + _FOLDS_PER_QUERY])).values():
                yield fold

    async def _boards(self, request: _Request) -> list[Board]:
        """Return the boards of the period: those in the archive, and those that its players are on by the ledger."""
        closed = request.closed
        countries = {player.country for player in request.players.values()}
        ranking = (closed.board_of(definition, country) for definition in closed.definitions for country in countries)
        boards = {closed.board, *await self._archive.of_period(closed.period), *filter(None, ranking)}
        return sorted(board for board in boards if self._is_concerned(board, closed))

    def _is_concerned(self, board: Board, closed: _Closed) -> bool:
        """Whether a board is resealed with the period: not if it is of another definition, or of one that is gone."""
        definition = self._placement.catalog.definition_of(board)
        return definition in closed.definitions or (definition is None and board == closed.board)

    async def _reseal(self, board: Board, request: _Request) -> Reseal | None:
        """Replace a board by the standings of the ledger; None if it shows these already."""
        definition = self._placement.catalog.definition_of(board)
        for _ in range(_ATTEMPTS):
            former = await self._archive.members(board)
            standings = list(_standings(board, definition, former, request))
            values = {each.user_id: each.value for each in standings}
            metadata = {user_id: text for (_, user_id), text in (await self._metadata.of(standings)).items() if text}
            if request.user_id:
                replaced = request.names
                values = {each: value for each, value in former.values.items() if each not in replaced} | values
                metadata = {each: text for each, text in former.metadata.items() if each not in replaced} | metadata
            if (values, metadata) == (former.values, former.metadata):
                return None
            ranked = sorted(((value, member) for member, value in values.items()), reverse=True)
            reseal = await self._archive.replace(
                board,
                former,
                [Member(member, value, metadata.get(member, "")) for value, member in ranked],
                request.closed.period,
                self._now(),
                ascending=_is_ascending(definition),
                user_id=request.user_id,
                actor=request.actor,
                reason=request.reason,
            )
            if reseal is not None:
                return reseal
        raise ServiceError(Reason.UNAVAILABLE, "The board changed meanwhile. Try again.")


def _standings(
    board: Board, definition: Definition | None, former: ResealedBoard, request: _Request
) -> Iterator[Standing]:
    """Yield the standings on a board by the ledger, in the encoding of the former one, erased players by pseudonym."""
    encoding = ENCODING if former.closed is None else former.closed.encoding
    for fold in request.folds:
        player = request.players[fold.chain]
        if definition is not None and request.closed.board_of(definition, player.country) != board:
            continue
        member = pseudonym_of(fold.chain) if fold.erased else player.user_id
        # Whether an erased player was blocked before is not known any more; the former board tells.
        is_shown = member in former.values if fold.erased else not fold.hidden
        if not is_shown:
            continue
        total = _total(player, definition)
        value = shown_value(total, board, encoding, is_ascending=_is_ascending(definition))
        if value > 0:
            reached_at = total.reached_at if fold.shows_metadata and not fold.erased else None
            yield Standing(
                board, member, int32(total.points), value, fold.revision, lowered=False, reached_at=reached_at
            )


def _is_ascending(definition: Definition | None) -> bool:
    return definition is not None and definition.is_ascending


def _total(player: _Player, definition: Definition | None) -> Total:
    if definition is None or not definition.number:
        return Total((sum(delta for _, delta in player.moves), latest_raise(player.moves) or 0))
    rows = sorted(player.rows[definition.number], key=_revision)
    return total_of(NumberedCounter(definition.number, definition.counter), rows)


def _revision(row: Row) -> int:
    return row.revision
