"""A span for each command to MongoDB and to Redis within a trace, as OpenTelemetry's conventions for databases name them.

Entered only where this process traces; publishing to NATS has its spans in `outbox`. Must never hold a value: an attribute
is a command, a database or a collection, never a key, a filter or a document.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, cast

from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from services.runtime import tracing

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from services.runtime.otlp import Span

# Of a command that was cancelled the driver says no more, and these are older than any that still runs.
MOST_BEGUN: Final = 1000


def mongo_listeners() -> list[CommandListener]:
    """What a client of MongoDB has to tell its commands to; nothing if this process does not trace."""
    return [_MongoSpans()] if tracing.is_on() else []


class _MongoSpans(CommandListener):
    """The driver tells it of a command in the task that sends it, so that the span at work is the right one."""

    def __init__(self) -> None:
        self._begun: dict[int, Span] = {}

    def started(self, event: CommandStartedEvent) -> None:
        command = event.command_name
        # What a cursor goes on with has the collection apart.
        named = event.command.get("collection" if command == "getMore" else command)
        collection = {"db.collection.name": named} if isinstance(named, str) else {}
        attributes = {"db.system.name": "mongodb", "db.namespace": event.database_name, "db.operation.name": command}
        span = tracing.leaf(" ".join([command, *collection.values()]), "client", attributes | collection)
        if span is not None:
            self._begun[event.request_id] = span
            if len(self._begun) > MOST_BEGUN:
                self._begun.pop(next(iter(self._begun))).end()

    def succeeded(self, event: CommandSucceededEvent) -> None:
        if span := self._begun.pop(event.request_id, None):
            span.end()

    def failed(self, event: CommandFailedEvent) -> None:
        if span := self._begun.pop(event.request_id, None):
            tracing.fail(span, str(event.failure.get("codeName", "error")))
            span.end()


def trace_redis(client: Redis) -> None:
    """Makes a span of each command of this client; nothing if this process does not trace. A script is one command.

    Pipelines are none of its commands: see `redis_scripts.together`.
    """
    if not tracing.is_on():
        return
    plain = cast("Callable[..., Awaitable[Any]]", client.execute_command)

    async def traced(*arguments: Any, **options: Any) -> Any:
        # Of `SCRIPT LOAD` and the like the driver makes one word.
        command = str(arguments[0])
        span = tracing.leaf(command, "client", {"db.system.name": "redis", "db.operation.name": command})
        if span is None:
            return await plain(*arguments, **options)
        try:
            return await plain(*arguments, **options)
        except BaseException as error:
            tracing.fail(span, type(error).__name__)
            raise
        finally:
            span.end()

    client.execute_command = traced  # type: ignore[method-assign]  # the driver has no hook for it
