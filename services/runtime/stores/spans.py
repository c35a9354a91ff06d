"""Spans of commands to Redis, by OpenTelemetry's conventions for databases.

Active only if this process traces; `mongo_listeners` makes the spans of MongoDB, and `outbox` those of NATS. Attributes are
commands, never keys.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from services.runtime.telemetry import tracing

if TYPE_CHECKING:
    from redis.asyncio import Redis


def trace_redis(client: Redis) -> None:
    """Make a span of each command of this client, if this process traces. A script is one command.

    `redis_scripts.together` makes the spans of pipelines.
    """
    if not tracing.is_on():
        return
    plain = cast("Callable[..., Awaitable[Any]]", client.execute_command)

    async def traced(*arguments: Any, **options: Any) -> Any:
        # The driver passes `SCRIPT LOAD` and the like as one word.
        command = str(arguments[0])
        span = tracing.leaf(command, {"db.system.name": "redis", "db.operation.name": command})
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
