"""Lua scripts and other commands, many in one round trip: on one server in one pipeline, on a cluster in one a node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from services.runtime import tracing
from services.runtime.redis_client import is_cluster

Call = tuple[Sequence[str | bytes], Sequence[str | int | bytes]]
"""Keys and arguments of a script."""
Command = tuple[Any, ...]
"""A command's name and what follows it."""


class Script:
    """A Lua script that is run by its digest, and loaded again when a server lost it. All keys of a call are in one slot."""

    def __init__(self, redis: Redis, source: str, *, reads_only: bool = False) -> None:
        self._redis = redis
        self._script = redis.register_script(source)
        self._name = "EVALSHA_RO" if reads_only else "EVALSHA"

    def command(self, keys: Sequence[str | bytes], arguments: Sequence[Any]) -> Command:
        """The command of one call, for `load` to have been called when it raises NoScriptError."""
        return (self._name, self._script.sha, len(keys), *keys, *arguments)

    async def load(self) -> None:
        """Every server knows the script from now on, until it forgets."""
        await self._redis.script_load(self._script.script)

    async def run(self, calls: Sequence[Call]) -> list[Any]:
        """The answers to calls, in order, in one round trip. Raises the first error of one."""
        commands = [self.command(keys, arguments) for keys, arguments in calls]
        try:
            return await together(self._redis, commands)
        except NoScriptError:
            await self.load()
            return await together(self._redis, commands)


async def together(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    """The answers to commands, in order. All are executed, whichever fails; then the first error of one is raised."""
    if not commands:
        return []
    if len(commands) == 1:
        one: Any = redis  # a method that the driver has no types for
        return [await one.execute_command(*commands[0])]
    size: tracing.Attributes = {"db.system.name": "redis", "db.operation.batch.size": len(commands)}
    with tracing.step("PIPELINE", "client", size):
        async with redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            answers: list[Any] = await pipeline.execute()
    return answers


async def in_order(redis: Redis, *stages: Sequence[Command]) -> list[list[Any]]:
    """The answers to commands of several stages, none of which begins before the one before it has ended on every server.

    One round trip where there is one server, one a stage on a cluster.
    """
    if is_cluster(redis):
        return [await together(redis, stage) for stage in stages]
    answers = iter(await together(redis, [command for stage in stages for command in stage]))
    return [[next(answers) for _ in stage] for stage in stages]
