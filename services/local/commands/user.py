"""`topten user grant|revoke|erase`: accounts and their roles, by the operator, who needs no account of his own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, cast

import typer
from topten.identity.v1 import identity_service_pb2 as messages
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub

from services.local.client import Endpoints
from services.local.terminal import DATA, Data, out, run
from services.runtime.grpc_client import call

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub


def grant(
    name: Annotated[str, typer.Argument(help="The username.")],
    role: Annotated[str, typer.Option(help="player, author, moderator or admin.")],
    data: Data = DATA,
) -> None:
    """Give an account a role; its tokens carry it from their next refresh on."""

    async def work() -> tuple[str, list[str]]:
        return await grant_role(Endpoints.load(data), name, role)

    _show(*run(work()))


def revoke(
    name: Annotated[str, typer.Argument(help="The username.")],
    role: Annotated[str, typer.Option(help="author, moderator or admin.")],
    data: Data = DATA,
) -> None:
    """Take a role from an account; its access tokens carry it until they expire."""

    async def work() -> tuple[str, list[str]]:
        async with _identity(Endpoints.load(data)) as (stub, token):
            answer = await call(stub.RevokeRole, messages.RevokeRoleRequest(username=name, role=role), token=token)
        return answer.user.username, list(answer.user.roles)

    _show(*run(work()))


def erase(name: Annotated[str, typer.Argument(help="The username.")], data: Data = DATA) -> None:
    """Erase an account for good, as its player could himself: no board, record or closed period names him any more."""

    async def work() -> None:
        async with _identity(Endpoints.load(data)) as (stub, token):
            await call(stub.EraseUser, messages.EraseUserRequest(username=name), token=token)

    run(work())
    out.print("The account is erased.", markup=False)


async def grant_role(endpoints: Endpoints, name: str, role: str) -> tuple[str, list[str]]:
    """Grant a role by the operator's token; the name and roles of the account now."""
    async with _identity(endpoints) as (stub, token):
        answer = await call(stub.GrantRole, messages.GrantRoleRequest(username=name, role=role), token=token)
    return answer.user.username, list(answer.user.roles)


@asynccontextmanager
async def _identity(endpoints: Endpoints) -> AsyncIterator[tuple[IdentityServiceAsyncStub, str]]:
    async with endpoints.operator() as token, endpoints.channel("identity") as channel:
        yield cast("IdentityServiceAsyncStub", IdentityServiceStub(channel)), token


def _show(username: str, roles: list[str]) -> None:
    out.print(f"{username}: {', '.join(roles)}", markup=False, soft_wrap=True)
