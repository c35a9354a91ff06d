"""gRPC: request → service → response, and who may call what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from topten.identity.v1 import identity_pb2, identity_service_pb2_grpc
from topten.identity.v1 import identity_service_pb2 as messages

from services.identity.accounts import Account
from services.identity.erasing import Erasing
from services.identity.export import AccountExport
from services.identity.moderation import Moderation
from services.identity.service import IdentityService, OpenSession
from services.runtime.access import ACCOUNTS, ADMIN, STAFF
from services.runtime.call_context import caller
from services.runtime.errors import Reason, ServiceError

Context = grpc.aio.ServicerContext[Any, Any]

# What the edge does for players who have no token yet.
_SIGNING_IN = frozenset({"session:open"})
_SEES_ALL = STAFF | {"account:read", "account:block"}
ACCESS: Mapping[str, frozenset[str]] = {
    "/topten.identity.v1.IdentityService/Register": _SIGNING_IN,
    "/topten.identity.v1.IdentityService/Login": _SIGNING_IN,
    "/topten.identity.v1.IdentityService/RefreshSession": _SIGNING_IN,
    "/topten.identity.v1.IdentityService/Logout": _SIGNING_IN,
    "/topten.identity.v1.IdentityService/AdmitPlayer": ACCOUNTS,
    "/topten.identity.v1.IdentityService/ChangePassword": ACCOUNTS,
    "/topten.identity.v1.IdentityService/IssueStreamToken": ACCOUNTS,
    "/topten.identity.v1.IdentityService/CheckSessions": frozenset({"session:check"}),
    "/topten.identity.v1.IdentityService/GetUsers": ACCOUNTS | {"account:read"},
    "/topten.identity.v1.IdentityService/GrantRole": ADMIN,
    "/topten.identity.v1.IdentityService/RevokeRole": ADMIN,
    "/topten.identity.v1.IdentityService/UpdateProfile": ACCOUNTS,
    "/topten.identity.v1.IdentityService/BlockUser": STAFF | {"account:block"},
    "/topten.identity.v1.IdentityService/UnblockUser": STAFF | {"account:block"},
    "/topten.identity.v1.IdentityService/ListAccountEvents": STAFF | {"event:read"},
    "/topten.identity.v1.IdentityService/RepublishAccountEvents": ADMIN | {"event:replay"},
    "/topten.identity.v1.IdentityService/ExportAccount": ACCOUNTS,
    "/topten.identity.v1.IdentityService/DeleteAccount": ACCOUNTS,
    "/topten.identity.v1.IdentityService/EraseUser": ADMIN,
}


class IdentityServicer(identity_service_pb2_grpc.IdentityServiceServicer):
    """The service on the wire."""

    def __init__(
        self,
        service: IdentityService,
        moderation: Moderation,
        erasing: Erasing,
        export: AccountExport,
        now: Callable[[], datetime],
    ) -> None:
        self._service = service
        self._moderation = moderation
        self._erasing = erasing
        self._export = export
        self._now = now

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

    async def AdmitPlayer(self, request: messages.AdmitPlayerRequest, context: Context) -> messages.AdmitPlayerResponse:
        """See identity_service.proto."""
        claims = caller()
        if not claims.issuer:
            raise ServiceError(Reason.PERMISSION_DENIED, "Only a player of another issuer is admitted.")
        if await self._erasing.erased([claims.user_id]):
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "This player's account was erased.")
        account = await asyncio.shield(self._service.admit(claims.user_id, claims.username))
        return messages.AdmitPlayerResponse(user=self._user(account))

    async def ChangePassword(
        self, request: messages.ChangePasswordRequest, context: Context
    ) -> messages.ChangePasswordResponse:
        """See identity_service.proto."""
        claims = caller()
        changing = self._service.change_password(
            claims.user_id, claims.session_id, request.current_password, request.new_password
        )
        await asyncio.shield(changing)
        return messages.ChangePasswordResponse()

    async def IssueStreamToken(
        self, request: messages.IssueStreamTokenRequest, context: Context
    ) -> messages.IssueStreamTokenResponse:
        """See identity_service.proto."""
        token, good_for = await self._service.stream_token(caller().session_id)
        return messages.IssueStreamTokenResponse(stream_token=token, expires_in=int(good_for.total_seconds()))

    async def CheckSessions(
        self, request: messages.CheckSessionsRequest, context: Context
    ) -> messages.CheckSessionsResponse:
        """See identity_service.proto."""
        return messages.CheckSessionsResponse(ended=await self._service.ended_sessions(request.session_ids))

    async def GetUsers(self, request: messages.GetUsersRequest, context: Context) -> messages.GetUsersResponse:
        """See identity_service.proto."""
        accounts = await self._service.users(request.user_ids)
        found = {account.user_id for account in accounts}
        erased = await self._erasing.erased([user_id for user_id in request.user_ids if user_id not in found])
        return messages.GetUsersResponse(users=[self._user(account) for account in accounts], erased_user_ids=erased)

    async def GrantRole(self, request: messages.GrantRoleRequest, context: Context) -> messages.GrantRoleResponse:
        """See identity_service.proto."""
        account = await self._service.grant_role(request.username, request.role)
        return messages.GrantRoleResponse(user=self._user(account))

    async def RevokeRole(self, request: messages.RevokeRoleRequest, context: Context) -> messages.RevokeRoleResponse:
        """See identity_service.proto."""
        account = await self._service.revoke_role(request.username, request.role)
        return messages.RevokeRoleResponse(user=self._user(account))

    async def UpdateProfile(
        self, request: messages.UpdateProfileRequest, context: Context
    ) -> messages.UpdateProfileResponse:
        """See identity_service.proto."""
        account = await asyncio.shield(self._moderation.update_profile(caller().user_id, request.country))
        return messages.UpdateProfileResponse(user=self._user(account))

    async def BlockUser(self, request: messages.BlockUserRequest, context: Context) -> messages.BlockUserResponse:
        """See identity_service.proto."""
        expires_at = request.expires_at.ToDatetime(UTC) if request.HasField("expires_at") else None
        claims = caller()
        blocking = self._moderation.block(
            request.user_id,
            request.reason,
            expires_at,
            request.change_id,
            actor=claims.user_id,
            roles=claims.roles,
        )
        account, event_id = await asyncio.shield(blocking)
        return messages.BlockUserResponse(user=self._user(account), event_id=event_id)

    async def UnblockUser(self, request: messages.UnblockUserRequest, context: Context) -> messages.UnblockUserResponse:
        """See identity_service.proto."""
        unblocking = self._moderation.unblock(request.user_id, request.reason, actor=caller().user_id)
        account, event_id = await asyncio.shield(unblocking)
        return messages.UnblockUserResponse(user=self._user(account), event_id=event_id)

    async def ExportAccount(
        self, request: messages.ExportAccountRequest, context: Context
    ) -> messages.ExportAccountResponse:
        """See identity_service.proto."""
        account, sessions, changes = await self._export.of(caller().user_id)
        answer = messages.ExportAccountResponse(user=self._user(account))
        for session in sessions:
            record = answer.sessions.add()
            record.renewed_at.FromDatetime(session.rotated_at)
            record.expires_at.FromDatetime(session.expires_at)
        for change in changes:
            told = answer.changes.add(kind=change.kind, reason=change.reason)
            told.changed_at.FromDatetime(change.at)
        return answer

    async def DeleteAccount(
        self, request: messages.DeleteAccountRequest, context: Context
    ) -> messages.DeleteAccountResponse:
        """See identity_service.proto."""
        await asyncio.shield(self._erasing.delete_account(caller().user_id, request.password))
        return messages.DeleteAccountResponse()

    async def EraseUser(self, request: messages.EraseUserRequest, context: Context) -> messages.EraseUserResponse:
        """See identity_service.proto."""
        await asyncio.shield(self._erasing.erase_user(request.username, actor=caller().user_id))
        return messages.EraseUserResponse()

    async def ListAccountEvents(
        self, request: messages.ListAccountEventsRequest, context: Context
    ) -> AsyncIterator[messages.ListAccountEventsResponse]:
        """See identity_service.proto."""
        async for events, total in self._moderation.events():
            yield messages.ListAccountEventsResponse(
                events=[
                    messages.AccountEvent(event_id=event_id, user_id=user_id, published=published)
                    for event_id, user_id, published in events
                ],
                total=total,
            )

    async def RepublishAccountEvents(
        self, request: messages.RepublishAccountEventsRequest, context: Context
    ) -> messages.RepublishAccountEventsResponse:
        """See identity_service.proto."""
        found = await self._moderation.republish(request.event_ids, only_check=request.only_check)
        return messages.RepublishAccountEventsResponse(event_ids=found)

    def _user(self, account: Account) -> identity_pb2.User:
        """The account as the caller may see it."""
        reader = caller()
        sees_all = reader.user_id == account.user_id or reader.may(_SEES_ALL)
        user = _user(account, sees_roles=sees_all)
        block = account.block_at(self._now()) if sees_all else None
        if block is not None:
            user.block.reason = block.reason
            user.block.blocked_at.FromDatetime(block.blocked_at)
            if block.expires_at is not None:
                user.block.expires_at.FromDatetime(block.expires_at)
        return user


def _user(account: Account, *, sees_roles: bool) -> identity_pb2.User:
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
        user=_user(session.account, sees_roles=True),
    )
