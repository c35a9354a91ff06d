"""gRPC of moderation: finding players, and what moderators do to accounts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import grpc
from topten.identity.v1 import identity_pb2, identity_service_pb2_grpc
from topten.identity.v1 import identity_service_pb2 as messages

from services.identity.account_messages import change_message, user_for_caller
from services.identity.accounts import Account, InvalidAccountError
from services.identity.moderation.player_directory import PlayerDirectory
from services.identity.moderation.service import Moderation
from services.identity.store import SessionState
from services.identity.usernames import UsernameRules
from services.runtime.errors import invalid
from services.runtime.grpc.call_context import caller

Context = grpc.aio.ServicerContext[Any, Any]


class ModerationServicer(identity_service_pb2_grpc.IdentityServiceServicer):
    """The methods of `topten.identity.v1.IdentityService` that moderators call; writes are shielded from cancellation."""

    def __init__(
        self,
        moderation: Moderation,
        directory: PlayerDirectory,
        usernames: UsernameRules,
        now: Callable[[], datetime],
    ) -> None:
        self._moderation = moderation
        self._directory = directory
        self._usernames = usernames
        self._now = now

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
        account, event_id, (sanction_id,) = await asyncio.shield(blocking)
        return messages.BlockUserResponse(user=self._user(account), event_id=event_id, sanction_id=sanction_id)

    async def UnblockUser(self, request: messages.UnblockUserRequest, context: Context) -> messages.UnblockUserResponse:
        """See identity_service.proto."""
        claims = caller()
        unblocking = self._moderation.unblock(
            request.user_id, request.reason, request.sanction_id, actor=claims.user_id, roles=claims.roles
        )
        account, event_id, lifted = await asyncio.shield(unblocking)
        return messages.UnblockUserResponse(user=self._user(account), event_id=event_id, sanction_ids=lifted)

    async def ListUsers(self, request: messages.ListUsersRequest, context: Context) -> messages.ListUsersResponse:
        """See identity_service.proto."""
        page = await self._directory.users(
            request.prefix, request.page_token, request.page_size, blocked=request.blocked
        )
        return messages.ListUsersResponse(
            users=[self._user(account) for account in page.accounts],
            next_page_token=page.next_page_token,
            cursors=page.cursors,
        )

    async def RenameUser(self, request: messages.RenameUserRequest, context: Context) -> messages.RenameUserResponse:
        """See identity_service.proto."""
        claims = caller()
        try:
            username = self._usernames.accept(request.username)
        except InvalidAccountError as error:
            raise invalid(error.field, str(error), str(error)) from None
        renaming = self._moderation.rename(
            request.user_id, username, request.reason, actor=claims.user_id, roles=claims.roles
        )
        account, former, event_id = await asyncio.shield(renaming)
        return messages.RenameUserResponse(user=self._user(account), former_username=former, event_id=event_id)

    async def ListSessions(
        self, request: messages.ListSessionsRequest, context: Context
    ) -> messages.ListSessionsResponse:
        """See identity_service.proto."""
        return messages.ListSessionsResponse(sessions=map(_session, await self._directory.sessions(request.user_id)))

    async def EndSessions(self, request: messages.EndSessionsRequest, context: Context) -> messages.EndSessionsResponse:
        """See identity_service.proto."""
        claims = caller()
        ending = self._moderation.end_sessions(
            request.user_id, request.session_id, request.reason, actor=claims.user_id, roles=claims.roles
        )
        return messages.EndSessionsResponse(ended=await asyncio.shield(ending))

    async def ListAccountChanges(
        self, request: messages.ListAccountChangesRequest, context: Context
    ) -> messages.ListAccountChangesResponse:
        """See identity_service.proto."""
        changes = await self._directory.changes(request.user_id)
        return messages.ListAccountChangesResponse(changes=map(change_message, changes))

    def _user(self, account: Account) -> identity_pb2.User:
        """Return the account as the caller may see it."""
        return user_for_caller(account, self._now())


def _session(session: SessionState) -> messages.OpenSession:
    message = messages.OpenSession(session_id=session.session_id)
    message.opened_at.FromDatetime(session.opened_at)
    message.renewed_at.FromDatetime(session.rotated_at)
    message.expires_at.FromDatetime(session.expires_at)
    return message
