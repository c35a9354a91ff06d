"""The use cases of service clients: those that settings declare, and those that the operator adds at runtime.

A declared client takes precedence and can be changed only in the settings. Must never return a secret twice.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from services.identity.clients.client import ServiceClient, secret_digest
from services.identity.clients.client_store import ClientStore, StoredClient
from services.runtime.auth.access import SCOPES, SERVICE
from services.runtime.errors import Reason, ServiceError, invalid

SECRET_BYTES: Final = 32
_log = structlog.get_logger("service_clients")


class ServiceClients:
    """Finds and changes clients. Until `open`, while identity waits for MongoDB, it knows the declared ones alone.

    `issuers` are the outside issuers to which a client may be bound.
    """

    def __init__(
        self, declared: Mapping[str, ServiceClient], issuers: Collection[str], *, now: Callable[[], datetime]
    ) -> None:
        self.declared = declared
        self._issuers = frozenset(issuers)
        self._now = now
        self._store: ClientStore | None = None

    def open(self, store: ClientStore) -> None:
        """Use the clients in this store too."""
        self._store = store

    async def find(self, name: str) -> ServiceClient | None:
        """Return the client. Raises UNAVAILABLE if it is not declared and the database does not respond."""
        if name in self.declared:
            return self.declared[name]
        stored = await self._opened().find(name)
        if stored is None:
            return None
        client = ServiceClient(stored.digest, frozenset({SERVICE}), stored.scopes, issuer=stored.issuer)
        if stored.previous_until is None:
            return client
        return replace(client, previous_digest=stored.previous, previous_until=stored.previous_until)

    async def added(self) -> list[StoredClient]:
        """Return the clients that were added at runtime, by name."""
        return [client for client in await self._opened().all() if client.name not in self.declared]

    async def add(self, name: str, scopes: Collection[str], issuer: str, *, actor: str) -> tuple[StoredClient, str]:
        """Add a client, bound to an outside issuer unless `issuer` is empty; return it and its secret.

        Raises CLIENT_EXISTS, INVALID_ARGUMENT.
        """
        if unknown := sorted(set(scopes) - SCOPES.keys()):
            known = ", ".join(SCOPES)
            message = f"Unknown scope {unknown[0]!r}. Scopes: {known}."
            raise invalid("scopes", message, message)
        if issuer and issuer not in self._issuers:
            known = ", ".join(sorted(self._issuers)) or "none"
            message = f"Unknown issuer. Issuers in TOPTEN_AUTH_ISSUERS: {known}."
            raise invalid("issuer", message, message)
        secret = secrets.token_urlsafe(SECRET_BYTES)
        client = StoredClient(name, secret_digest(secret), frozenset(scopes), added_at=self._now(), issuer=issuer)
        if name in self.declared or not await self._opened().add(client, actor=actor):
            raise ServiceError(
                Reason.CLIENT_EXISTS, f"There is a client {name}, or there are 1000. Choose another name."
            )
        _log.info("service client added", client=name, scopes=sorted(scopes), issuer=issuer, actor=actor)
        return client, secret

    async def rotate(self, name: str, keep_previous_for: timedelta, *, actor: str) -> tuple[StoredClient, str]:
        """Replace the secret; return the client and the new one. Raises CLIENT_NOT_FOUND."""
        self._refuse_declared(name)
        secret, now = secrets.token_urlsafe(SECRET_BYTES), self._now()
        client = await self._opened().rotate(
            name, secret_digest(secret), previous_until=now + keep_previous_for, actor=actor, at=now
        )
        if client is None:
            raise _not_found(name)
        _log.info("service client rotated", client=name, actor=actor)
        return client, secret

    async def remove(self, name: str, *, actor: str) -> None:
        """Remove the client. Raises CLIENT_NOT_FOUND."""
        self._refuse_declared(name)
        if not await self._opened().remove(name, actor=actor, at=self._now()):
            raise _not_found(name)
        _log.info("service client removed", client=name, actor=actor)

    def _refuse_declared(self, name: str) -> None:
        if name in self.declared:
            raise ServiceError(
                Reason.CLIENT_NOT_FOUND,
                f"{name} is declared in TOPTEN_IDENTITY_SERVICE_CLIENTS. Change it there and restart identity.",
            )

    def _opened(self) -> ClientStore:
        if self._store is None:
            raise ServiceError(
                Reason.UNAVAILABLE, "Identity is starting. Retry in 1 s.", retry_after=timedelta(seconds=1)
            )
        return self._store


def _not_found(name: str) -> ServiceError:
    return ServiceError(Reason.CLIENT_NOT_FOUND, f"There is no client {name}. `topten client list` shows all.")
