"""Is a store ready? Each probe asks by the store's own protocol and raises until it may be used.

The MongoDB probe also makes a fresh node usable: it founds the replica set and the user, and follows a changed port.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

import aiohttp
import nats as nats_client
import redis.asyncio as redis_client
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

# With less room than this a store that failed for want of it would fail again.
MIN_ROOM: Final = 16 * 1024 * 1024
_OK = 200
_AUTHENTICATION_FAILED = 18
_DIRECT: dict[str, Any] = {"directConnection": True, "serverSelectionTimeoutMS": 1000, "timeoutMS": 5000}


class SickError(RuntimeError):
    """It runs and can't do its work; a new start would help."""


class FullDiskError(RuntimeError):
    """It runs and can't do its work, because there is no room on the disk."""


class NotReadyError(RuntimeError):
    """The store answers and may not be used yet."""


async def nats(url: str) -> None:
    """Raises unless JetStream answers at `url`."""

    async def quiet(_error: Exception) -> None:
        """A refused connection is an answer here, not an incident."""

    client = await nats_client.connect(
        url, connect_timeout=1, max_reconnect_attempts=0, reconnect_time_wait=0, error_cb=quiet
    )
    try:
        await client.jetstream(timeout=1).account_info()
    finally:
        await client.close()


async def nats_health(folder: Path) -> None:
    """Raises SickError, or FullDiskError, if the server whose data is in `folder` says that it can't store."""
    try:
        address = _monitoring(folder)
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{address}/healthz") as answer:
            if answer.status == _OK:
                return
            error = str((await answer.json()).get("error", ""))[:200]
    except (ValueError, KeyError, OSError, TimeoutError, aiohttp.ClientError):
        return  # it does not answer: whether it lives is another's question
    if shutil.disk_usage(folder).free < MIN_ROOM:
        raise FullDiskError(error)
    raise SickError(error)


def _monitoring(folder: Path) -> str:
    """The address that the server last wrote into its folder."""
    newest = max(folder.glob("*.ports"), key=lambda path: path.stat().st_mtime)
    address: str = json.loads(newest.read_text())["monitoring"][0]
    return address


async def redis(url: str) -> None:
    """Raises unless Redis answers at `url`."""
    async with redis_client.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
        await client.ping()


async def mongo(host: str, port: int, user: str, password: str) -> None:
    """Raises unless a primary takes writes at the address. Founds the set and the user if they are not there."""
    address = f"{host}:{port}"
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(
        host, port, username=user, password=password, **_DIRECT
    )
    async with client:
        try:
            hello = await client.admin.command("hello")
            await client.admin.command("connectionStatus")
        except OperationFailure as error:
            if error.code != _AUTHENTICATION_FAILED:
                raise
            await _found(host, port, user, password)
            raise NotReadyError("the user has only just been made") from None
        if not hello.get("isWritablePrimary"):
            await _follow_port(client, address)
            raise NotReadyError("no primary yet")


async def _found(host: str, port: int, user: str, password: str) -> None:
    """Found the replica set, then the user: what the localhost exception allows on a node without users."""
    address = f"{host}:{port}"
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(host, port, **_DIRECT)
    async with client:
        hello = await client.admin.command("hello")
        if not hello.get("setName"):
            await client.admin.command("replSetInitiate", {"_id": "topten", "members": [{"_id": 0, "host": address}]})
        if hello.get("isWritablePrimary"):
            await client.admin.command("createUser", user, pwd=password, roles=["root"])


async def _follow_port(client: AsyncMongoClient[dict[str, object]], address: str) -> None:
    """Tell the set its node's present address, if it knows another one."""
    config = (await client.admin.command("replSetGetConfig"))["config"]
    if config["members"][0]["host"] != address:
        config["members"][0]["host"] = address
        config["version"] += 1
        await client.admin.command("replSetReconfig", config, force=True)
