"""Listeners of a MongoDB client: the number of its connections, and a span of each command.

The spans follow OpenTelemetry's conventions for databases. Attributes are commands, databases and collections, never filters
or documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
    ConnectionPoolListener,
)

from services.runtime.stores.metrics import Connections
from services.runtime.telemetry import tracing

if TYPE_CHECKING:
    from services.runtime.telemetry.otlp import Span

# The driver does not report the end of cancelled commands; beyond this number the oldest are ended.
MAX_OPEN: Final = 1000


def mongo_listeners() -> list[CommandListener]:
    """The command listeners of a MongoDB client; none if this process does not trace."""
    return [_MongoSpans()] if tracing.is_on() else []


class _MongoSpans(CommandListener):
    """Makes spans of commands. The driver calls it in the task of the command, so that the current span is its parent."""

    def __init__(self) -> None:
        self._open: dict[int, Span] = {}

    def started(self, event: CommandStartedEvent) -> None:
        command = event.command_name
        # `getMore` has the collection in a field of its own.
        named = event.command.get("collection" if command == "getMore" else command)
        collection = {"db.collection.name": named} if isinstance(named, str) else {}
        attributes = {"db.system.name": "mongodb", "db.namespace": event.database_name, "db.operation.name": command}
        span = tracing.leaf(" ".join([command, *collection.values()]), attributes | collection)
        if span is not None:
            self._open[event.request_id] = span
            if len(self._open) > MAX_OPEN:
                self._open.pop(next(iter(self._open))).end()

    def succeeded(self, event: CommandSucceededEvent) -> None:
        if span := self._open.pop(event.request_id, None):
            span.end()

    def failed(self, event: CommandFailedEvent) -> None:
        if span := self._open.pop(event.request_id, None):
            tracing.fail(span, str(event.failure.get("codeName", "error")))
            span.end()


class MongoPools(ConnectionPoolListener):
    """An event listener that counts the connections of one MongoDB client."""

    def __init__(self) -> None:
        self._open = 0
        self._used = 0

    def count(self) -> Connections:
        """The current numbers. A connection that is being opened counts as idle."""
        return Connections(self._open - self._used, self._used)

    def connection_created(self, _event: object) -> None:
        """Count an open connection."""
        self._open += 1

    def connection_closed(self, _event: object) -> None:
        """Count a closed connection, which was checked in before."""
        self._open -= 1

    def connection_checked_out(self, _event: object) -> None:
        """Count a used connection."""
        self._used += 1

    def connection_checked_in(self, _event: object) -> None:
        """Count an idle connection."""
        self._used -= 1

    def pool_created(self, _event: object) -> None:
        """Ignored: no connection is open yet."""

    def pool_ready(self, _event: object) -> None:
        """Ignored: no connection is open yet."""

    def pool_cleared(self, _event: object) -> None:
        """Ignored: each connection reports that it is closed."""

    def pool_closed(self, _event: object) -> None:
        """Ignored: each connection reports that it is closed."""

    def connection_ready(self, _event: object) -> None:
        """Ignored: it was counted when it was created."""

    def connection_check_out_started(self, _event: object) -> None:
        """Ignored: no connection is used yet."""

    def connection_check_out_failed(self, _event: object) -> None:
        """Ignored: no connection is used."""
