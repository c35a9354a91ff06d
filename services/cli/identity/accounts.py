"""What the operator does to accounts, with the operator's token. Each change returns when identity has recorded it."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import TYPE_CHECKING, Final

from topten.identity.v1 import identity_pb2
from topten.identity.v1 import identity_service_pb2 as messages

from services.cli.system.client import Endpoints
from services.cli.system.operator_client import identity_service
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

_PAGE: Final = 100


async def grant_role(endpoints: Endpoints, username: str, role: str) -> tuple[str, list[str]]:
    """Grant a role; return the account's username and roles."""
    async with identity_service(endpoints) as (stub, token):
        request = messages.GrantRoleRequest(username=username, role=role)
        response = await call(stub.GrantRole, request, token=token)
    return response.user.username, list(response.user.roles)


async def revoke_role(endpoints: Endpoints, username: str, role: str) -> tuple[str, list[str]]:
    """Revoke a role; return the account's username and remaining roles."""
    async with identity_service(endpoints) as (stub, token):
        request = messages.RevokeRoleRequest(username=username, role=role)
        response = await call(stub.RevokeRole, request, token=token)
    return response.user.username, list(response.user.roles)


async def erase_account(endpoints: Endpoints, username: str) -> None:
    """Erase an account permanently."""
    async with identity_service(endpoints) as (stub, token):
        await call(stub.EraseUser, messages.EraseUserRequest(username=username), token=token)


async def list_accounts(endpoints: Endpoints, prefix: str, limit: int, *, blocked: bool) -> list[identity_pb2.User]:
    """Return up to `limit` accounts by name."""
    found: list[identity_pb2.User] = []
    token_of_page = ""
    async with identity_service(endpoints) as (stub, token):
        while len(found) < limit:
            request = messages.ListUsersRequest(
                prefix=prefix, blocked=blocked, page_size=min(_PAGE, limit - len(found)), page_token=token_of_page
            )
            page = await call(stub.ListUsers, request, token=token)
            found += page.users
            token_of_page = page.next_page_token
            if not token_of_page:
                break
    return found


async def rename_account(endpoints: Endpoints, username: str, new: str, reason: str) -> tuple[str, str]:
    """Rename an account; return its name before and after."""
    async with identity_service(endpoints) as (stub, token):
        user = await _named(stub, token, username)
        request = messages.RenameUserRequest(user_id=user.user_id, username=new, reason=reason)
        response = await call(stub.RenameUser, request, token=token)
    return response.former_username, response.user.username


async def list_sessions(endpoints: Endpoints, username: str) -> list[messages.OpenSession]:
    """Return the open sessions of an account, latest renewal first."""
    async with identity_service(endpoints) as (stub, token):
        user = await _named(stub, token, username)
        response = await call(stub.ListSessions, messages.ListSessionsRequest(user_id=user.user_id), token=token)
    return list(response.sessions)


async def end_sessions(endpoints: Endpoints, username: str, session_id: str, reason: str) -> int:
    """End one session of an account, or without an id all; return how many."""
    async with identity_service(endpoints) as (stub, token):
        user = await _named(stub, token, username)
        request = messages.EndSessionsRequest(user_id=user.user_id, session_id=session_id, reason=reason)
        return (await call(stub.EndSessions, request, token=token)).ended


async def block_account(
    endpoints: Endpoints, username: str, reason: str, expires_at: datetime | None
) -> identity_pb2.User:
    """Block an account; return it with its block."""
    async with identity_service(endpoints) as (stub, token):
        user = await _named(stub, token, username)
        request = messages.BlockUserRequest(user_id=user.user_id, reason=reason)
        if expires_at is not None:
            request.expires_at.FromDatetime(expires_at)
        return (await call(stub.BlockUser, request, token=token)).user


async def unblock_account(endpoints: Endpoints, username: str, reason: str) -> int:
    """Lift all sanctions of an account; return how many there were."""
    async with identity_service(endpoints) as (stub, token):
        user = await _named(stub, token, username)
        request = messages.UnblockUserRequest(user_id=user.user_id, reason=reason)
        return len((await call(stub.UnblockUser, request, token=token)).sanction_ids)


async def _named(stub: IdentityServiceAsyncStub, token: str, username: str) -> identity_pb2.User:
    """Return the account with this name, regardless of case. Raises PLAYER_NOT_FOUND.

    The shortest name with a prefix comes first.
    """
    page = await call(stub.ListUsers, messages.ListUsersRequest(prefix=username, page_size=1), token=token)
    if page.users and _folded(page.users[0].username) == _folded(username):
        return page.users[0]
    raise ServiceError(Reason.PLAYER_NOT_FOUND, "No player has this username.")


def _folded(username: str) -> str:
    """Return the form in which identity compares names."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username).casefold())
