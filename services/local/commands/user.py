"""`topten user grant`: roles of accounts."""

from __future__ import annotations

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

    username, roles = run(work())
    out.print(f"{username}: {', '.join(roles)}", markup=False, soft_wrap=True)


async def grant_role(endpoints: Endpoints, name: str, role: str) -> tuple[str, list[str]]:
    """Grant a role by the operator's token; the name and roles of the account now."""
    async with endpoints.operator() as token, endpoints.channel("identity") as channel:
        stub = cast("IdentityServiceAsyncStub", IdentityServiceStub(channel))
        request = messages.GrantRoleRequest(username=name, role=role)
        answer = await call(stub.GrantRole, request, token=token)
    return answer.user.username, list(answer.user.roles)
