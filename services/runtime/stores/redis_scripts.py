"""Lua scripts and other commands, many in one round trip: one pipeline, or on a cluster one per node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from services.runtime.stores.redis import is_cluster
from services.runtime.telemetry import tracing

Call = tuple[Sequence[str | bytes], Sequence[str | int | bytes]]
"""The keys and arguments of a script."""
Command = tuple[Any, ...]
"""A command: its name and arguments."""


class Script:
    """A Lua script, run by its digest and reloaded if a server lost it. All keys of a call must be in one hash slot."""

    def __init__(self, redis: Redis, source: str, *, reads_only: bool = False) -> None:
        self._redis = redis
        self._script = redis.register_script(source)
        self._name = "EVALSHA_RO" if reads_only else "EVALSHA"

    def command(self, keys: Sequence[str | bytes], arguments: Sequence[Any]) -> Command:
        """The command of one call. If it raises NoScriptError, call `load` and repeat it."""
        return (self._name, self._script.sha, len(keys), *keys, *arguments)

    async def load(self) -> None:
        """Load the script into every server."""
        await self._redis.script_load(self._script.script)

    async def run(self, calls: Sequence[Call]) -> list[Any]:
        """Run several calls in one round trip and return their results in order. Raises the first error."""
        commands = [self.command(keys, arguments) for keys, arguments in calls]
        try:
            return await together(self._redis, commands)
        except NoScriptError:
            await self.load()
            return await together(self._redis, commands)


async def together(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    """Run commands in one round trip and return their results in order. All run; then the first error is raised."""
    return await _run(redis, commands, raise_on_error=True) if commands else []


async def each_of(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    """Run commands of different callers (at least one) in one round trip; return the result or error of each, in order.

    For a server alone: the driver of a cluster repeats commands by the errors that it raises. Raises the error of the only
    command, and that of a connection.
    """
    return await _run(redis, commands, raise_on_error=False)


async def _run(redis: Redis, commands: Sequence[Command], *, raise_on_error: bool) -> list[Any]:
    if len(commands) == 1:
        client: Any = redis  # not typed by the driver
        return [await client.execute_command(*commands[0])]
    size: tracing.Attributes = {"db.system.name": "redis", "db.operation.batch.size": len(commands)}
    with tracing.step("PIPELINE", "client", size):
        async with redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            results: list[Any] = await pipeline.execute(raise_on_error)
    return results


async def in_order(redis: Redis, *stages: Sequence[Command]) -> list[list[Any]]:
    """Run commands in stages, each of which starts after the previous one has ended on every server.

    Takes one round trip on a single server, and one per stage on a cluster.
    """
    if is_cluster(redis):
        return [await together(redis, stage) for stage in stages]
    results = iter(await together(redis, [command for stage in stages for command in stage]))
    return [[next(results) for _ in stage] for stage in stages]
