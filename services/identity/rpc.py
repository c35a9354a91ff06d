"""gRPC: request → service → response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from topten.identity.v1 import identity_pb2
from topten.identity.v1 import identity_service_pb2 as messages

from services.boards.proofs.signed_heads import Head
from services.identity.account_messages import add_block, block_message, change_message, sanction_message, user_message
from services.identity.board_tokens.board_token_store import BoardToken
from services.identity.board_tokens.service import BoardTokens
from services.identity.clients.client_store import StoredClient
from services.identity.clients.service import ServiceClients
from services.identity.erasure.personal_data import PersonalData
from services.identity.erasure.record_restoration import RecordRestoration
from services.identity.external_players.messages import read_profiles, result_of
from services.identity.external_players.service import ExternalPlayers
from services.identity.groups.messages import membership_message
from services.identity.moderation.player_directory import PlayerDirectory
from services.identity.moderation.rpc import ModerationServicer
from services.identity.moderation.service import Moderation
from services.identity.service import IdentityService, OpenSession
from services.identity.usernames import UsernameRules
from services.runtime.auth.access import SERVICE
from services.runtime.auth.external_ids import source_of
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.call_context import caller

Context = grpc.aio.ServicerContext[Any, Any]


class IdentityServicer(ModerationServicer):
    """The methods of `topten.identity.v1.IdentityService`.

    Writes are shielded from cancellation: a caller that hangs up would otherwise cost the driver its connection.
    """

    def __init__(
        self,
        service: IdentityService,
        players: ExternalPlayers,
        moderation: Moderation,
        directory: PlayerDirectory,
        personal_data: PersonalData,
        restoration: RecordRestoration,
        clients: ServiceClients,
        usernames: UsernameRules,
        sign_head: Callable[[Head], str],
        board_tokens: BoardTokens,
        now: Callable[[], datetime],
    ) -> None:
        super().__init__(moderation, directory, usernames, now)
        self._service = service
        self._players = players
        self._personal_data = personal_data
        self._restoration = restoration
        self._clients = clients
        self._sign_head = sign_head
        self._board_tokens = board_tokens

    async def Register(self, request: messages.RegisterRequest, context: Context) -> messages.RegisterResponse:
        """See identity_service.proto."""
        credentials = request.credentials
        session = await self._service.register(
            credentials.username, credentials.password, request.country, request.guest_refresh_token
        )
        return messages.RegisterResponse(session=_session(session))

    async def Login(self, request: messages.LoginRequest, context: Context) -> messages.LoginResponse:
        """See identity_service.proto."""
        session = await self._service.login(request.username, request.password)
        return messages.LoginResponse(session=_session(session))

    async def CreateGuest(self, request: messages.CreateGuestRequest, context: Context) -> messages.CreateGuestResponse:
        """See identity_service.proto."""
        session = await self._service.create_guest(request.nickname)
        return messages.CreateGuestResponse(session=_session(session))

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
            raise ServiceError(Reason.PERMISSION_DENIED, "Only players of an external issuer can be admitted.")
        account = await asyncio.shield(self._players.admit(claims))
        return messages.AdmitPlayerResponse(user=self._user(account))

    async def EnsurePlayers(
        self, request: messages.EnsurePlayersRequest, context: Context
    ) -> messages.EnsurePlayersResponse:
        """See identity_service.proto."""
        claims = caller()
        profiles, refusals = read_profiles(request.players, source_of(claims), self._usernames)
        ensured = await asyncio.shield(self._players.ensure(list(profiles.values()), actor=claims.user_id))
        outcomes = refusals | dict(zip(profiles, ensured, strict=True))
        return messages.EnsurePlayersResponse(results=[result_of(outcomes[n]) for n in range(len(request.players))])

    async def ChangePassword(
        self, request: messages.ChangePasswordRequest, context: Context
    ) -> messages.ChangePasswordResponse:
        """See identity_service.proto."""
        claims = caller()
        await asyncio.shield(
            self._service.change_password(
                claims.user_id, claims.session_id, request.current_password, request.new_password
            )
        )
        return messages.ChangePasswordResponse()

    async def IssueDataToken(
        self, request: messages.IssueDataTokenRequest, context: Context
    ) -> messages.IssueDataTokenResponse:
        """See identity_service.proto."""
        account, token = await self._service.data_token(request.username, request.password)
        lifetime = int(self._service.access_ttl.total_seconds())
        user = user_message(account, sees_roles=True)
        add_block(user, account, self._now())
        return messages.IssueDataTokenResponse(data_token=token, expires_in=lifetime, user=user)

    async def IssueStreamToken(
        self, request: messages.IssueStreamTokenRequest, context: Context
    ) -> messages.IssueStreamTokenResponse:
        """See identity_service.proto."""
        token, lifetime = await self._service.stream_token(caller())
        return messages.IssueStreamTokenResponse(stream_token=token, expires_in=int(lifetime.total_seconds()))

    async def CheckSessions(
        self, request: messages.CheckSessionsRequest, context: Context
    ) -> messages.CheckSessionsResponse:
        """See identity_service.proto."""
        return messages.CheckSessionsResponse(ended=await self._service.ended_sessions(request.session_ids))

    async def IssueBoardToken(
        self, request: messages.IssueBoardTokenRequest, context: Context
    ) -> messages.IssueBoardTokenResponse:
        """See identity_service.proto."""
        expires_at = request.expires_at.ToDatetime(UTC) if request.HasField("expires_at") else None
        issuing = self._board_tokens.issue(request.board, expires_at, actor=caller().user_id)
        token, stored = await asyncio.shield(issuing)
        return messages.IssueBoardTokenResponse(token=token, board_token=_board_token(stored))

    async def ListBoardTokens(
        self, request: messages.ListBoardTokensRequest, context: Context
    ) -> messages.ListBoardTokensResponse:
        """See identity_service.proto."""
        return messages.ListBoardTokensResponse(board_tokens=map(_board_token, await self._board_tokens.all()))

    async def RevokeBoardToken(
        self, request: messages.RevokeBoardTokenRequest, context: Context
    ) -> messages.RevokeBoardTokenResponse:
        """See identity_service.proto."""
        revoked = await asyncio.shield(self._board_tokens.revoke(request.token_id, actor=caller().user_id))
        return messages.RevokeBoardTokenResponse(revoked=revoked)

    async def GetUsers(self, request: messages.GetUsersRequest, context: Context) -> messages.GetUsersResponse:
        """See identity_service.proto."""
        accounts = await self._service.users(request.user_ids, request.usernames)
        missing = set(request.user_ids) - {account.user_id for account in accounts}
        erased = await self._personal_data.erased(sorted(missing))
        return messages.GetUsersResponse(users=[self._user(account) for account in accounts], erased_user_ids=erased)

    async def CheckPlayers(
        self, request: messages.CheckPlayersRequest, context: Context
    ) -> messages.CheckPlayersResponse:
        """See identity_service.proto."""
        standings = await self._service.standings(request.user_ids)
        missing = set(request.user_ids) - standings.keys()
        erased = await self._personal_data.erased(sorted(missing))
        now = self._now()
        return messages.CheckPlayersResponse(
            blocked=[
                messages.BlockedPlayer(user_id=user_id, block=block_message(each.block))
                for user_id, each in standings.items()
                if each.block is not None and not each.block.is_over(now)
            ],
            erased_user_ids=erased,
            unknown_user_ids=missing - {*erased},
            countries={user_id: each.country for user_id, each in standings.items() if each.country},
        )

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

    async def ExportAccount(
        self, request: messages.ExportAccountRequest, context: Context
    ) -> messages.ExportAccountResponse:
        """See identity_service.proto."""
        account, sessions, changes, groups = await self._personal_data.export(caller().user_id)
        response = messages.ExportAccountResponse(user=self._user(account))
        del response.user.sanctions[:]
        response.user.sanctions.extend(
            sanction_message(replace(each, actor="")) for each in account.sanctions_at(self._now())
        )
        for session in sessions:
            record = response.sessions.add()
            record.renewed_at.FromDatetime(session.rotated_at)
            record.expires_at.FromDatetime(session.expires_at)
        for change in changes:
            response.changes.append(change_message(replace(change, actor="", event_id="")))
        response.groups.extend(membership_message(group, account.user_id) for group in groups)
        if account.external_id is not None:
            source, external_id = account.external_id
            response.external_id.MergeFrom(identity_pb2.ExternalId(source=source, external_id=external_id))
        return response

    async def DeleteAccount(
        self, request: messages.DeleteAccountRequest, context: Context
    ) -> messages.DeleteAccountResponse:
        """See identity_service.proto."""
        await asyncio.shield(self._personal_data.delete_account(caller().user_id, request.password))
        return messages.DeleteAccountResponse()

    async def EraseUser(self, request: messages.EraseUserRequest, context: Context) -> messages.EraseUserResponse:
        """See identity_service.proto."""
        await asyncio.shield(self._personal_data.erase_user(request.username, actor=caller().user_id))
        return messages.EraseUserResponse()

    async def ListAccountEvents(
        self, request: messages.ListAccountEventsRequest, context: Context
    ) -> AsyncIterator[messages.ListAccountEventsResponse]:
        """See identity_service.proto."""
        since = request.since.ToDatetime(UTC) if request.HasField("since") else None
        async for events, total in self._moderation.events(since):
            yield messages.ListAccountEventsResponse(
                events=[messages.AccountEvent(**event._asdict()) for event in events],
                total=total,
            )

    async def RepublishAccountEvents(
        self, request: messages.RepublishAccountEventsRequest, context: Context
    ) -> messages.RepublishAccountEventsResponse:
        """See identity_service.proto."""
        event_ids = await self._moderation.republish(request.event_ids, only_check=request.only_check)
        return messages.RepublishAccountEventsResponse(event_ids=event_ids)

    async def AddServiceClient(
        self, request: messages.AddServiceClientRequest, context: Context
    ) -> messages.AddServiceClientResponse:
        """See identity_service.proto."""
        adding = self._clients.add(request.name, request.scopes, request.issuer, actor=caller().user_id)
        client, secret = await asyncio.shield(adding)
        return messages.AddServiceClientResponse(client=_client(client, self._now()), secret=secret)

    async def ListServiceClients(
        self, request: messages.ListServiceClientsRequest, context: Context
    ) -> messages.ListServiceClientsResponse:
        """See identity_service.proto."""
        declared = [
            messages.ServiceClient(
                name=name,
                scopes=sorted(client.scopes),
                roles=sorted(client.roles),
                declared=True,
                issuer=client.issuer,
            )
            for name, client in self._clients.declared.items()
        ]
        added = [_client(client, self._now()) for client in await self._clients.added()]
        return messages.ListServiceClientsResponse(clients=sorted(declared + added, key=lambda client: client.name))

    async def RotateServiceClient(
        self, request: messages.RotateServiceClientRequest, context: Context
    ) -> messages.RotateServiceClientResponse:
        """See identity_service.proto."""
        keep = request.keep_previous_for.ToTimedelta()
        client, secret = await asyncio.shield(self._clients.rotate(request.name, keep, actor=caller().user_id))
        return messages.RotateServiceClientResponse(client=_client(client, self._now()), secret=secret)

    async def RemoveServiceClient(
        self, request: messages.RemoveServiceClientRequest, context: Context
    ) -> messages.RemoveServiceClientResponse:
        """See identity_service.proto."""
        await asyncio.shield(self._clients.remove(request.name, actor=caller().user_id))
        return messages.RemoveServiceClientResponse()

    async def RestoreAccountRecords(
        self, request: messages.RestoreAccountRecordsRequest, context: Context
    ) -> messages.RestoreAccountRecordsResponse:
        """See identity_service.proto."""
        events = [(each.event, each.counted) for each in request.events]
        restored = await asyncio.shield(self._restoration.restore(events))
        records = [messages.RestoredAccountRecord(event=event) for event in restored]
        return messages.RestoreAccountRecordsResponse(records=records)

    async def SignBoardHead(
        self, request: messages.SignBoardHeadRequest, context: Context
    ) -> messages.SignBoardHeadResponse:
        """See identity_service.proto."""
        starts_at, ends_at, closed_at = (
            each.ToDatetime(UTC) for each in (request.starts_at, request.ends_at, request.closed_at)
        )
        head = Head(
            request.board,
            starts_at,
            ends_at,
            closed_at,
            request.players,
            request.generation,
            request.root,
            request.supersedes,
        )
        return messages.SignBoardHeadResponse(head=self._sign_head(head))


def _client(client: StoredClient, now: datetime) -> messages.ServiceClient:
    message = messages.ServiceClient(
        name=client.name, scopes=sorted(client.scopes), roles=[SERVICE], issuer=client.issuer
    )
    message.added_at.FromDatetime(client.added_at)
    if client.rotated_at is not None:
        message.rotated_at.FromDatetime(client.rotated_at)
    if client.previous_until is not None and client.previous_until > now:
        message.previous_valid_until.FromDatetime(client.previous_until)
    return message


def _board_token(token: BoardToken) -> messages.BoardToken:
    message = messages.BoardToken(token_id=token.token_id, board=token.board, issued_by=token.issued_by)
    message.issued_at.FromDatetime(token.issued_at)
    message.expires_at.FromDatetime(token.expires_at)
    return message


def _session(session: OpenSession) -> identity_pb2.Session:
    expires_at = Timestamp()
    expires_at.FromDatetime(session.expires_at)
    return identity_pb2.Session(
        access_token=session.access_token,
        refresh_token=session.refresh_token,
        stream_token=session.stream_token,
        expires_in=int(session.access_ttl.total_seconds()),
        session_expires_at=expires_at,
        user=user_message(session.account, sees_roles=True),
    )
