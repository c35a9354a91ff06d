"""gRPC: request → service → response, and who may call what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from topten.identity.v1 import identity_pb2, identity_service_pb2_grpc
from topten.identity.v1 import identity_service_pb2 as messages

from services.identity.accounts import ROLES, Account
from services.identity.service import IdentityService, OpenSession
from services.runtime.auth import Claims
from services.runtime.call_context import caller

Context = grpc.aio.ServicerContext[Any, Any]

_EDGE = frozenset({"service"})
ACCESS: Mapping[str, frozenset[str]] = {
    "/topten.identity.v1.IdentityService/Register": _EDGE,
    "/topten.identity.v1.IdentityService/Login": _EDGE,
    "/topten.identity.v1.IdentityService/RefreshSession": _EDGE,
    "/topten.identity.v1.IdentityService/Logout": _EDGE,
    "/topten.identity.v1.IdentityService/GetUsers": ROLES | {"service"},
    "/topten.identity.v1.IdentityService/GrantRole": frozenset({"admin"}),
}
_SEES_ROLES = frozenset({"moderator", "admin", "service"})


class IdentityServicer(identity_service_pb2_grpc.IdentityServiceServicer):
    """The service on the wire."""

    def __init__(self, service: IdentityService) -> None:
        self._service = service

    async def Register(self, request: messages.RegisterRequest, context: Context) -> messages.RegisterResponse:
        """See identity_service.proto."""
        credentials = request.credentials
        session = await self._service.register(credentials.username, credentials.password, request.country)
        return messages.RegisterResponse(session=_session(session))

    async def Login(self, request: messages.LoginRequest, context: Context) -> messages.LoginResponse:
        """See identity_service.proto."""
        session = await self._service.login(request.username, request.password)
        return messages.LoginResponse(session=_session(session))

    async def RefreshSession(
        self, request: messages.RefreshSessionRequest, context: Context
    ) -> messages.RefreshSessionResponse:
        """See identity_service.proto."""
        session = await self._service.refresh(request.refresh_token)
        return messages.RefreshSessionResponse(session=_session(session))

    async def Logout(self, request: messages.LogoutRequest, context: Context) -> messages.LogoutResponse:
        """See identity_service.proto."""
        return messages.LogoutResponse(ended=await self._service.logout(request.refresh_token))

    async def GetUsers(self, request: messages.GetUsersRequest, context: Context) -> messages.GetUsersResponse:
        """See identity_service.proto."""
        accounts = await self._service.users(request.user_ids)
        return messages.GetUsersResponse(users=[_user(account, caller()) for account in accounts])

    async def GrantRole(self, request: messages.GrantRoleRequest, context: Context) -> messages.GrantRoleResponse:
        """See identity_service.proto."""
        account = await self._service.grant_role(request.username, request.role)
        return messages.GrantRoleResponse(user=_user(account, caller()))


def _user(account: Account, reader: Claims | None) -> identity_pb2.User:
    """The account as ``reader`` may see it; None is the account itself."""
    sees_roles = reader is None or reader.user_id == account.user_id or bool(reader.roles & _SEES_ROLES)
    created_at = Timestamp()
    created_at.FromDatetime(account.created_at)
    return identity_pb2.User(
        user_id=account.user_id,
        username=account.username,
        roles=sorted(account.roles) if sees_roles else [],
        country=account.country,
        created_at=created_at,
    )


def _session(session: OpenSession) -> identity_pb2.Session:
    ends_at = Timestamp()
    ends_at.FromDatetime(session.expires_at)
    return identity_pb2.Session(
        access_token=session.access_token,
        refresh_token=session.refresh_token,
        stream_token=session.stream_token,
        expires_in=int(session.access_ttl.total_seconds()),
        session_expires_at=ends_at,
        user=_user(session.account, None),
    )
