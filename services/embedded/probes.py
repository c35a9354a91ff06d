"""Readiness probes of the stores, by their own protocols: each raises until the store can be used.

The MongoDB probe also prepares a new node: it initiates the replica set, creates the user, and follows a changed port.
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

# With less free space, a store that failed because of a full disk would fail again.
MIN_FREE_BYTES: Final = 16 * 1024 * 1024
_OK = 200
_AUTHENTICATION_FAILED = 18
_UNAUTHORIZED = 13
_DIRECT: dict[str, Any] = {"directConnection": True, "serverSelectionTimeoutMS": 1000, "timeoutMS": 5000}


class UnhealthyError(RuntimeError):
    """The store runs but cannot work; a restart would help."""


class FullDiskError(RuntimeError):
    """The store runs but cannot work until there is space on the disk."""


class UnusableError(RuntimeError):
    """The store will not become usable by waiting; the message says what to do."""


class NotReadyError(RuntimeError):
    """The store responds but cannot be used yet."""


async def nats(url: str) -> None:
    """Raise unless JetStream responds at `url`."""

    async def ignore(_error: Exception) -> None:
        """Leave a refused connection to the exception that follows."""

    client = await nats_client.connect(
        url,
        connect_timeout=1,
        allow_reconnect=False,
        max_reconnect_attempts=0,
        reconnect_time_wait=0,
        error_cb=ignore,
    )
    try:
        await client.jetstream(timeout=1).account_info()
    finally:
        await client.close()


async def nats_health(folder: Path) -> None:
    """Raise UnhealthyError or FullDiskError if the server with its data in `folder` reports that it cannot write."""
    try:
        address = _monitoring(folder)
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{address}/healthz") as response:
            if response.status == _OK:
                return
            error = str((await response.json()).get("error", ""))[:200]
    except (ValueError, KeyError, OSError, TimeoutError, aiohttp.ClientError):
        return  # no response: whether the process lives is the supervisor's concern
    if shutil.disk_usage(folder).free < MIN_FREE_BYTES:
        raise FullDiskError(error)
    raise UnhealthyError(error)


def _monitoring(folder: Path) -> str:
    """The monitoring address that the server last wrote into its folder."""
    newest = max(folder.glob("*.ports"), key=lambda path: path.stat().st_mtime)
    address: str = json.loads(newest.read_text())["monitoring"][0]
    return address


async def redis(url: str) -> None:
    """Raise unless Redis responds at `url`."""
    async with redis_client.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
        await client.ping()


async def mongo(host: str, port: int, user: str, password: str) -> None:
    """Raise unless a primary takes writes at the address; initiate the replica set and the user if they are missing.

    Raises UnusableError if there are users and the password is wrong.
    """
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
            try:
                await _initiate(host, port, user, password)
            except OperationFailure as refused:
                if refused.code != _UNAUTHORIZED:
                    raise
                # There are users, and the password is not theirs.
                raise UnusableError(
                    "its data has another password than secrets/mongo in the data folder. Bring back that file, or choose "
                    "another folder with --data (DATA= with make)."
                ) from None
            raise NotReadyError("the user was just created") from None
        if not hello.get("isWritablePrimary"):
            await _follow_port(client, address)
            raise NotReadyError("no primary yet")


async def _initiate(host: str, port: int, user: str, password: str) -> None:
    """Initiate the replica set, then create the user, as the localhost exception allows on a node without users."""
    address = f"{host}:{port}"
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(host, port, **_DIRECT)
    async with client:
        hello = await client.admin.command("hello")
        if not hello.get("setName"):
            await client.admin.command("replSetInitiate", {"_id": "topten", "members": [{"_id": 0, "host": address}]})
        if hello.get("isWritablePrimary"):
            await client.admin.command("createUser", user, pwd=password, roles=["root"])


async def _follow_port(client: AsyncMongoClient[dict[str, object]], address: str) -> None:
    """Reconfigure the replica set if it has another address for its node."""
    config = (await client.admin.command("replSetGetConfig"))["config"]
    if config["members"][0]["host"] != address:
        config["members"][0]["host"] = address
        config["version"] += 1
        await client.admin.command("replSetReconfig", config, force=True)
