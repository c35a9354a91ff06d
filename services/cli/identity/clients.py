"""What the operator does to service clients. Each returns when identity has recorded it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from topten.identity.v1 import identity_service_pb2 as messages

from services.cli.system.client import Endpoints
from services.cli.system.operator_client import identity_service
from services.runtime.grpc.client import call


async def add_client(endpoints: Endpoints, name: str, scopes: Sequence[str], issuer: str) -> str:
    """Add a client, bound to an outside issuer unless `issuer` is empty, and return its secret."""
    async with identity_service(endpoints) as (stub, token):
        request = messages.AddServiceClientRequest(name=name, scopes=scopes, issuer=issuer)
        return (await call(stub.AddServiceClient, request, token=token)).secret


async def list_clients(endpoints: Endpoints) -> Sequence[messages.ServiceClient]:
    """Return all clients by name."""
    async with identity_service(endpoints) as (stub, token):
        return (await call(stub.ListServiceClients, messages.ListServiceClientsRequest(), token=token)).clients


async def rotate_client(endpoints: Endpoints, name: str, keep: timedelta) -> str:
    """Replace the secret of a client and return the new one."""
    request = messages.RotateServiceClientRequest(name=name)
    request.keep_previous_for.FromTimedelta(keep)
    async with identity_service(endpoints) as (stub, token):
        return (await call(stub.RotateServiceClient, request, token=token)).secret


async def remove_client(endpoints: Endpoints, name: str) -> None:
    """Remove a client."""
    async with identity_service(endpoints) as (stub, token):
        await call(stub.RemoveServiceClient, messages.RemoveServiceClientRequest(name=name), token=token)
