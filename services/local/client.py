"""How the command talks to a running system: GraphQL as any client does, gRPC with the operator's token.

Where the system is comes from `endpoints.json` of the data folder, or from TOPTEN_LOCAL_ENDPOINTS, the path of such a
file for a system elsewhere. Must never take a secret from the command line or print one.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
import grpc

from services.runtime.errors import ServiceError
from services.runtime.grpc_client import open_channel
from services.runtime.service_token import ServiceToken
from services.runtime.settings import TlsConfig

ENDPOINTS_VARIABLE = "TOPTEN_LOCAL_ENDPOINTS"
_NEEDED = ("graphql", "stream", "grpc", "identity_http", "operator")


class NotRunningError(RuntimeError):
    """There is nothing to talk to; the message says what to do."""


@dataclass(frozen=True)
class Endpoints:
    """Where a running system is; the content of `endpoints.json`."""

    document: dict[str, Any]

    @classmethod
    def load(cls, data: Path) -> Endpoints:
        """Read the file of the folder `data`, or the one that TOPTEN_LOCAL_ENDPOINTS names. Raises NotRunningError."""
        path = Path(os.environ.get(ENDPOINTS_VARIABLE) or data / "endpoints.json")
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise NotRunningError(
                f"no {path}: start the system with `topten up`, or name its folder by --data"
            ) from None
        except ValueError:
            raise NotRunningError(f"{path} can't be read; start the system anew with `topten up`") from None
        if missing := [key for key in _NEEDED if not isinstance(document, dict) or not document.get(key)]:
            raise NotRunningError(f"{path} lacks {', '.join(missing)}; start the system anew with `topten up`")
        return cls(document)

    @property
    def graphql(self) -> str:
        """The GraphQL address."""
        return str(self.document["graphql"])

    @property
    def stream(self) -> str:
        """The address of the leaderboard stream."""
        return str(self.document["stream"])

    def player(self) -> tuple[str, str]:
        """Name and password of the first demo player. Raises NotRunningError where there is none."""
        if not self.document.get("players"):
            raise NotRunningError("this system has no demo players")
        player = self.document["players"][0]
        return player["username"], player["password"]

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[str]:
        """A token with which the operator calls the services."""
        url = f"{self.document['identity_http']}/oauth/token"
        async with ServiceToken(url, self.document["operator"]["client_id"], self._operator_secret()) as token:
            yield await token.get()

    def _operator_secret(self) -> str:
        """By value, or in the file that is named where addresses and secrets are handed out apart."""
        operator = self.document["operator"]
        if "client_secret_file" in operator:
            return Path(operator["client_secret_file"]).read_text(encoding="utf-8").strip()
        return str(operator["client_secret"])

    @asynccontextmanager
    async def channel(self, service: str) -> AsyncIterator[grpc.aio.Channel]:
        """An open channel to a service by its name."""
        async with open_channel(self.document["grpc"][service], TlsConfig(**self.document.get("tls", {}))) as channel:
            yield channel


class GraphqlError(RuntimeError):
    """The first error of an answer, with its published reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class GraphqlClient:
    """Sends documents to one address; used as an async context manager."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def execute(self, document: str, variables: dict[str, Any], token: str | None = None) -> Any:
        """The `data` of the answer. Raises GraphqlError, or aiohttp.ClientError where there is no answer."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        body = {"query": document, "variables": variables}
        async with self._session.post(self._url, json=body, headers=headers) as response:
            answer = await response.json(content_type=None)
        if answer.get("errors"):
            error = answer["errors"][0]
            raise GraphqlError(error.get("extensions", {}).get("reason", "INTERNAL"), error.get("message", ""))
        return answer["data"]

    async def login(self, username: str, password: str) -> str:
        """An access token."""
        document = "mutation ($input: LoginInput!) { login(input: $input) { accessToken } }"
        data = await self.execute(document, {"input": {"username": username, "password": password}})
        return str(data["login"]["accessToken"])

    async def register(self, username: str, password: str, country: str | None) -> str | None:
        """An access token of a new player; None if there is one of this name already."""
        document = "mutation ($input: RegisterInput!) { register(input: $input) { accessToken } }"
        account = {"username": username, "password": password, "country": country}
        try:
            data = await self.execute(document, {"input": account})
        except GraphqlError as error:
            if error.reason == "USERNAME_TAKEN":
                return None
            raise
        return str(data["register"]["accessToken"])


def describe(error: BaseException) -> str:
    """What went wrong in one line, for a terminal."""
    if isinstance(error, ServiceError):
        return f"{error.message} ({error.reason})"
    if isinstance(error, GraphqlError):
        return f"{error} ({error.reason})"
    if isinstance(error, aiohttp.ClientError | TimeoutError | OSError):
        return f"the system does not answer ({type(error).__name__})"
    return str(error) or type(error).__name__
