"""Redis behind a real sentinel."""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from services.embedded.programs import redis_server
from services.runtime.config.settings import RedisConfig
from services.runtime.stores.redis import REDIS_ERRORS, information, open_redis, subscription
from tests.deadline import deadline, deadline_seconds
from tests.servers import HOST, RunningServer, free_port

PASSWORD = "pwsentinel"


async def test_the_master_is_found_and_its_successor_too(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        master, replica = (RunningServer("redis", tmp_path / name, PASSWORD) for name in ("master", "replica"))
        for server in (master, replica):
            await server.start()
            stack.callback(server.kill)
        async with Redis.from_url(replica.url) as client:
            await client.config_set("masterauth", PASSWORD)
            await client.replicaof(HOST, master.port)
            while (await client.info("replication")).get("master_link_status") != "up":
                await asyncio.sleep(0.02)
        port = free_port()
        program = redis_server(tmp_path / "sentinel", port, "unused").argv[0]
        config = tmp_path / "sentinel" / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind {HOST}\ndir {tmp_path / 'sentinel'}\nrequirepass pwother\n"
            f"sentinel monitor main {HOST} {master.port} 1\nsentinel auth-pass main {PASSWORD}\n"
            "sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 3000\n"
        )
        sentinel = subprocess.Popen([program, str(config), "--sentinel"], stdout=subprocess.DEVNULL)
        stack.callback(sentinel.wait)
        stack.callback(sentinel.kill)
        url = f"redis+sentinel://:{PASSWORD}@{HOST}:{port}/main/0?sentinel_password=pwother"
        redis = await stack.enter_async_context(open_redis(RedisConfig(url=url), "test"))
        await redis.set("key", "before")
        (before,) = await information(redis, "server")
        assert before["tcp_port"] == master.port
        async with Redis(host=HOST, port=port, password="pwother") as client:
            asked: Any = client
            # It may fail over as soon as it has heard of the replica.
            while not await asked.execute_command("SENTINEL REPLICAS", "main"):
                await asyncio.sleep(0.05)
        master.kill()
        async with deadline("the replica is promoted"):
            while await redis_or_none(redis) != b"after":
                await asyncio.sleep(0.05)
        (after,) = await information(redis, "server")
        assert (after["tcp_port"], after["run_id"] != before["run_id"]) == (replica.port, True)
        async with subscription(redis) as events:
            await events.subscribe("channel")
            assert (await events.get_message(timeout=deadline_seconds()) or {})["type"] == "subscribe"


async def redis_or_none(redis: Redis) -> bytes | str | None:
    """Writes and reads, if there is a master."""
    try:
        await redis.set("key", "after")
        return await redis.get("key")
    except REDIS_ERRORS:
        return None
