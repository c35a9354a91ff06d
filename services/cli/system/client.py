"""The way to a running system: its addresses, GraphQL as any client uses it, and the operator's token and channels.

Addresses come from `endpoints.json` of the data folder, or from the file that TOPTEN_LOCAL_ENDPOINTS names. Must never
take a secret from the command line or print one.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
import grpc

from services.cli.system.locate import NotRunningError, read_endpoints
from services.cli.typed_names import renamed
from services.runtime.auth.service_token import ServiceToken
from services.runtime.config.settings import TlsConfig
from services.runtime.errors import ServiceError
from services.runtime.grpc.client import open_channel


@dataclass(frozen=True)
class Endpoints:
    """The addresses of a running system; the content of `endpoints.json`."""

    document: dict[str, Any]

    @classmethod
    def load(cls, data: Path) -> Endpoints:
        """Read `endpoints.json` of the folder `data` or of TOPTEN_LOCAL_ENDPOINTS. Raises NotRunningError."""
        return cls(read_endpoints(data))

    @property
    def graphql(self) -> str:
        """The GraphQL address."""
        return str(self.document["graphql"])

    @property
    def stream(self) -> str:
        """The address of the leaderboard stream."""
        return str(self.document["stream"])

    def player(self) -> tuple[str, str]:
        """Username and password of the first demo player. Raises NotRunningError if there is none."""
        if not self.document.get("players"):
            raise NotRunningError("This system has no demo players.")
        player = self.document["players"][0]
        return player["username"], player["password"]

    def moderator(self) -> tuple[str, str]:
        """Username and password of the moderator that `topten up` has made. Raises NotRunningError if there is none."""
        if not self.document.get("moderator"):
            raise NotRunningError("This system has no moderator of its own. Name an account with --host.")
        return self.document["moderator"]["username"], self.document["moderator"]["password"]

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[str]:
        """Yield a token with which the operator calls the services."""
        url = f"{self.document['identity_http']}/oauth/token"
        async with ServiceToken(url, self.document["operator"]["client_id"], self._operator_secret()) as token:
            try:
                text = await token.get()
            except ServiceError as error:
                error.call = f"the operator's token from {url}"
                raise
            yield text

    def _operator_secret(self) -> str:
        """Return the secret, from its own file in deployments that keep secrets apart from addresses."""
        operator = self.document["operator"]
        if "client_secret_file" in operator:
            return Path(operator["client_secret_file"]).read_text(encoding="utf-8").strip()
        return str(operator["client_secret"])

    @asynccontextmanager
    async def channel(self, service: str) -> AsyncIterator[grpc.aio.Channel]:
        """Yield an open channel to a service by its name."""
        async with open_channel(self.document["grpc"][service], TlsConfig(**self.document.get("tls", {}))) as channel:
            yield channel


class GraphqlError(RuntimeError):
    """The first error of a response, with its published reason and the root field that failed."""

    def __init__(self, reason: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field


class UnexpectedResponseError(aiohttp.ClientError):
    """What answers at an address is not Topten, or is something in front of it."""


class GraphqlClient:
    """Sends documents to one GraphQL address. An async context manager."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def execute(self, document: str, variables: dict[str, Any], token: str | None = None) -> Any:
        """Return the `data` of the response. Raises GraphqlError, and aiohttp.ClientError without a response of GraphQL."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        body = {"query": document, "variables": variables}
        async with self._session.post(self._url, json=body, headers=headers) as response:
            try:
                result = await response.json(content_type=None)
            except ValueError:
                result = None
        if isinstance(result, dict) and {"code", "detail"} <= result.keys():  # refused before GraphQL: RFC 9457
            raise GraphqlError(str(result["code"]), str(result["detail"]))
        if not isinstance(result, dict) or not result.keys() & {"data", "errors"}:
            message = f"{self._url} does not answer as Topten (HTTP {response.status}). Check the address."
            raise UnexpectedResponseError(message)
        if result.get("errors"):
            error = result["errors"][0]
            field = str((error.get("path") or [""])[0])
            raise GraphqlError(error.get("extensions", {}).get("reason", "INTERNAL"), error.get("message", ""), field)
        return result["data"]

    async def login(self, username: str, password: str) -> str:
        """Log in and return an access token."""
        document = "mutation ($input: LoginInput!) { login(input: $input) { accessToken } }"
        data = await self.execute(document, {"input": {"username": username, "password": password}})
        return str(data["login"]["accessToken"])

    async def register(self, username: str, password: str, country: str | None) -> str | None:
        """Register a player and return an access token; None if the username is taken."""
        document = "mutation ($input: RegisterInput!) { register(input: $input) { accessToken } }"
        account = {"username": username, "password": password, "country": country}
        try:
            data = await self.execute(document, {"input": account})
        except GraphqlError as error:
            if error.reason == "USERNAME_TAKEN":
                return None
            raise
        return str(data["register"]["accessToken"])


def describe(error: BaseException, name: Callable[[str], str] = str) -> str:
    """Describe an error in one line, for a terminal. `name` turns a field of a request into what somebody typed for it."""
    if isinstance(error, ServiceError | GraphqlError):
        text, violations = (error.message, error.violations) if isinstance(error, ServiceError) else (str(error), ())
        message = renamed(text, violations, name)
        call = error.call if isinstance(error, ServiceError) else error.field
        # What was typed tells more than the call.
        return f"{call}: {message} ({error.reason})" if call and message == text else f"{message} ({error.reason})"
    if isinstance(error, UnexpectedResponseError):
        return str(error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"Nothing responds at {error.host}:{error.port} ({os.strerror(error.os_error.errno or errno.EHOSTUNREACH)})."
    if isinstance(error, aiohttp.ClientError | TimeoutError | OSError):
        return f"The system does not respond ({type(error).__name__})."
    return str(error) or type(error).__name__
