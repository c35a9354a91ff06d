"""A check of the stores at their URLs, by their own protocols: of external ones before anything is started on them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

from nats.errors import AuthorizationError
from nats.errors import Error as NatsError
from pymongo import AsyncMongoClient
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError
from redis.exceptions import AuthenticationError, ResponseError

from services.embedded import probes
from services.embedded.preflight import STORES
from services.runtime.config.settings import RedisConfig
from services.runtime.stores.redis import REDIS_ERRORS, redis_client
from services.runtime.stores.redis_url import redis_url

SECONDS: Final = 3.0
_AUTHENTICATION_FAILED: Final = 18
_UNAUTHORIZED: Final = 13


class _RefusedError(Exception):
    """The store refused the login."""


class _UrlError(Exception):
    """The URL cannot be used; the message is a phrase without it."""


async def problems(urls: Mapping[str, str]) -> list[str]:
    """One line for each store of `urls` that cannot be used, within SECONDS; never with a URL, which has a password."""
    found = await asyncio.gather(*(find_problem(store, url) for store, url in urls.items()))
    return [problem for problem in found if problem]


async def find_problem(store: str, url: str) -> str:
    """What prevents the use of the store at `url`, in one line; empty if it answers within SECONDS."""
    variable, name = f"TOPTEN_{store.upper()}_URL", STORES[store]
    try:
        async with asyncio.timeout(SECONDS + 1):
            await _PROBES[store](url)
    except _RefusedError:
        return f"{name} refuses the user or password in {variable}. Correct them."
    except _UrlError as error:
        return f"{name} cannot be used by {variable}: {error}. Correct the URL."
    except (PyMongoError, NatsError, TimeoutError, *REDIS_ERRORS) as error:
        return (
            f"{name} does not answer as {name} at the address in {variable} ({type(error).__name__}). Correct the URL."
        )
    return ""


async def _mongo(url: str) -> None:
    try:
        client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(
            url, serverSelectionTimeoutMS=int(SECONDS * 1000), timeoutMS=int(SECONDS * 1000)
        )
    except (ConfigurationError, ValueError) as error:
        # What follows the first phrase may be a part of the URL.
        raise _UrlError(re.split(r"[:.]", str(error), maxsplit=1)[0][:100]) from error
    async with client:
        try:
            await client.admin.command("listDatabases", nameOnly=True, filter={"name": "topten"})
        except OperationFailure as error:
            if error.code in (_AUTHENTICATION_FAILED, _UNAUTHORIZED):
                raise _RefusedError from error
            raise


async def _redis(url: str) -> None:
    try:
        redis_url(url)
    except ValueError as error:
        raise _UrlError(str(error)) from error
    try:
        async with redis_client(RedisConfig(url=url), "preflight", socket_connect_timeout=2) as client:
            await client.ping()
    except (AuthenticationError, ResponseError) as error:
        raise _RefusedError from error


async def _nats(url: str) -> None:
    *others, last = (server.strip() for server in url.split(","))
    for server in others:
        with suppress(NatsError, TimeoutError, OSError):
            return await probes.nats(server)
    try:
        await probes.nats(last)
    except NatsError as error:
        if "connect url" in str(error):
            raise _UrlError("it has no valid host and port") from error
        if isinstance(error, AuthorizationError) or "authorization" in str(error).lower():
            raise _RefusedError from error
        raise
    return None


_PROBES: Final[Mapping[str, Callable[[str], Awaitable[None]]]] = {"mongo": _mongo, "redis": _redis, "nats": _nats}
