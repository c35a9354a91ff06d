"""Definitions of boards as messages of `topten.board.v1`: one function each way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from typing import Final

from google.protobuf.duration_pb2 import Duration
from topten.board.v1.board_pb2 import BoardDefinition, DefinedBoard

from services.boards.definition import Aggregate, Definition, Order, Ranks, State, Visibility

_AGGREGATES: Final[Mapping[int, Aggregate]] = {
    BoardDefinition.AGGREGATE_UNSPECIFIED: "sum",
    BoardDefinition.SUM: "sum",
    BoardDefinition.BEST: "best",
    BoardDefinition.LATEST: "latest",
    BoardDefinition.COUNT: "count",
}
_ORDERS: Final[Mapping[int, Order]] = {
    BoardDefinition.ORDER_UNSPECIFIED: "desc",
    BoardDefinition.DESC: "desc",
    BoardDefinition.ASC: "asc",
}
_VISIBILITIES: Final[Mapping[int, Visibility]] = {
    BoardDefinition.VISIBILITY_UNSPECIFIED: "public",
    BoardDefinition.PUBLIC: "public",
    BoardDefinition.MEMBERS: "members",
    BoardDefinition.MODERATORS: "moderators",
}
_RANKS: Final[Mapping[int, Ranks]] = {
    BoardDefinition.RANKS_UNSPECIFIED: "unique",
    BoardDefinition.UNIQUE: "unique",
    BoardDefinition.COMPETITION: "competition",
    BoardDefinition.DENSE: "dense",
}
_STATES: Final[Mapping[int, State]] = {
    DefinedBoard.BUILDING: "building",
    DefinedBoard.READY: "ready",
    DefinedBoard.ARCHIVED: "archived",
}


def _seconds(duration: Duration) -> int:
    """Return whole seconds; -1, which no definition may have, for a part of one."""
    return -1 if duration.nanos else duration.seconds


def definition_of(message: BoardDefinition) -> Definition:
    """Return the definition that a message states; nothing is checked."""
    return Definition(
        name=message.name,
        title=message.title,
        sources=tuple(message.sources),
        aggregate=_AGGREGATES[message.aggregate],
        order=_ORDERS[message.order],
        period=message.period or "all",
        time_zone=message.time_zone or "UTC",
        segment=message.segment or "all",
        visibility=_VISIBILITIES[message.visibility],
        size=message.size,
        ranks=_RANKS[message.ranks],
        freezes_before=_seconds(message.freezes_before),
    )


def defined_board_of(message: DefinedBoard) -> Definition:
    """Return the definition of a board with its state."""
    archived_at = message.archived_at.ToDatetime(UTC) if message.HasField("archived_at") else None
    return replace(
        definition_of(message.definition),
        number=message.counter,
        state=_STATES.get(message.state, "building"),
        version=message.version,
        declared=message.declared,
        archived_at=archived_at,
        freeze_changes=message.freeze_changes,
    )


def message_of(definition: Definition, progress: int = 100) -> DefinedBoard:
    """Return the message of a board; `progress` is the share of players, 0 to 100, who are on it."""
    message = DefinedBoard(
        definition=BoardDefinition(
            name=definition.name,
            title=definition.title,
            sources=definition.sources,
            aggregate=BoardDefinition.Aggregate.Value(definition.aggregate.upper()),
            order=BoardDefinition.Order.Value(definition.order.upper()),
            period=definition.period,
            time_zone=definition.time_zone,
            segment=definition.segment,
            visibility=BoardDefinition.Visibility.Value(definition.visibility.upper()),
            size=definition.size,
            ranks=BoardDefinition.Ranks.Value(definition.ranks.upper()),
        ),
        state=DefinedBoard.State.Value(definition.state.upper()),
        progress_percent=progress,
        version=definition.version,
        declared=definition.declared,
        counter=definition.number,
        freeze_changes=definition.freeze_changes,
    )
    if definition.freezes_before:
        message.definition.freezes_before.seconds = definition.freezes_before
    if definition.archived_at is not None:
        message.archived_at.FromDatetime(definition.archived_at)
    return message
