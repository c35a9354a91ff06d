"""gRPC of groups of players: request → use case → response."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc
from topten.group.v1 import group_pb2, group_service_pb2_grpc
from topten.group.v1 import group_service_pb2 as messages

from services.boards.visibility import may_read_definition
from services.identity.groups.group import Group
from services.identity.groups.messages import group_message, member_message, team_message
from services.identity.groups.service import Groups
from services.runtime.auth.access import ACCOUNTS, ADMIN
from services.runtime.errors import Reason, ServiceError, invalid
from services.runtime.grpc.call_context import caller

Context = grpc.aio.ServicerContext[Any, Any]
_WRITERS: Final = ADMIN | {"group:write"}
_READERS: Final = _WRITERS | {"group:read"}


class GroupServicer(group_service_pb2_grpc.GroupServiceServicer):
    """The methods of `topten.group.v1.GroupService`. Writes are shielded from cancellation."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups

    async def PutGroup(self, request: messages.PutGroupRequest, context: Context) -> messages.PutGroupResponse:
        """See group_service.proto."""
        user_id = _player(request.user_id, _WRITERS)
        putting = self._groups.put(request.group_id, request.title, user_id, owner_id=_self_unless(_WRITERS))
        group, changed = await asyncio.shield(putting)
        return messages.PutGroupResponse(group=_message(group), changed=changed)

    async def GetGroup(self, request: messages.GetGroupRequest, context: Context) -> messages.GetGroupResponse:
        """See group_service.proto."""
        group = await self._groups.group(request.group_id, viewer_id=_self_unless(_READERS))
        return messages.GetGroupResponse(group=_message(group))

    async def ListGroups(self, request: messages.ListGroupsRequest, context: Context) -> messages.ListGroupsResponse:
        """See group_service.proto."""
        groups = await self._groups.of_player(_player(request.user_id, _READERS))
        return messages.ListGroupsResponse(groups=map(_message, groups))

    async def ListMembers(self, request: messages.ListMembersRequest, context: Context) -> messages.ListMembersResponse:
        """See group_service.proto."""
        viewer_id = _self_unless(_READERS)
        if viewer_id is None:
            viewer_id = request.viewer_id or None
        elif request.viewer_id not in ("", viewer_id):
            raise _denied()
        page = await self._groups.members(
            request.group_id, request.page_size, request.page_token, viewer_id=viewer_id, edition=request.edition
        )
        return messages.ListMembersResponse(
            members=map(member_message, page.members),
            next_page_token=page.next_page_token,
            cursors=page.cursors,
            edition=page.edition,
        )

    async def JoinGroup(self, request: messages.JoinGroupRequest, context: Context) -> messages.JoinGroupResponse:
        """See group_service.proto."""
        joining = self._groups.join(request.invite_code, _player(request.user_id, _WRITERS))
        group, changed = await asyncio.shield(joining)
        return messages.JoinGroupResponse(group=_message(group), changed=changed)

    async def RemoveMember(
        self, request: messages.RemoveMemberRequest, context: Context
    ) -> messages.RemoveMemberResponse:
        """See group_service.proto."""
        actor_id = _self_unless(_WRITERS)
        user_id = request.user_id or _player("", _WRITERS)
        removed = await asyncio.shield(self._groups.remove(request.group_id, user_id, actor_id=actor_id))
        return messages.RemoveMemberResponse(removed=removed)

    async def RotateInviteCode(
        self, request: messages.RotateInviteCodeRequest, context: Context
    ) -> messages.RotateInviteCodeResponse:
        """See group_service.proto."""
        group = await asyncio.shield(self._groups.rotate_code(request.group_id, owner_id=_self_unless(_WRITERS)))
        return messages.RotateInviteCodeResponse(group=_message(group))

    async def EnterBoard(self, request: messages.EnterBoardRequest, context: Context) -> messages.EnterBoardResponse:
        """See group_service.proto."""
        claims = caller()
        entering = self._groups.enter(
            request.group_id,
            request.board_name,
            owner_id=_self_unless(_WRITERS),
            may_read=lambda definition: may_read_definition(definition, claims),
        )
        group, changed = await asyncio.shield(entering)
        return messages.EnterBoardResponse(group=_message(group), changed=changed)

    async def LeaveBoard(self, request: messages.LeaveBoardRequest, context: Context) -> messages.LeaveBoardResponse:
        """See group_service.proto."""
        leaving = self._groups.leave_board(request.group_id, request.board_name, owner_id=_self_unless(_WRITERS))
        group, changed = await asyncio.shield(leaving)
        return messages.LeaveBoardResponse(group=_message(group), changed=changed)

    async def ListTeams(self, request: messages.ListTeamsRequest, context: Context) -> messages.ListTeamsResponse:
        """See group_service.proto."""
        edition, groups = await self._groups.teams(request.board_name, request.edition)
        return messages.ListTeamsResponse(
            edition=edition, teams=[team_message(group, request.board_name) for group in groups]
        )

    async def DeleteGroup(self, request: messages.DeleteGroupRequest, context: Context) -> messages.DeleteGroupResponse:
        """See group_service.proto."""
        deleted = await asyncio.shield(self._groups.delete(request.group_id, owner_id=_self_unless(_WRITERS)))
        return messages.DeleteGroupResponse(deleted=deleted)


def _self_unless(others: frozenset[str]) -> str | None:
    """Return the calling player, in whose name alone they act; None for a caller with one of these permissions."""
    claims = caller()
    return None if claims.may(others) else claims.user_id


def _player(user_id: str, others: frozenset[str]) -> str:
    """Return the player whom a request is about: the calling one, unless a caller with these permissions names another.

    Raises PERMISSION_DENIED, and INVALID_ARGUMENT if a service names none.
    """
    claims = caller()
    if user_id not in ("", claims.user_id) and not claims.may(others):
        raise _denied()
    if not user_id and not claims.may(ACCOUNTS):
        fault = "is required of a service"
        raise invalid("user_id", fault)
    return user_id or claims.user_id


def _message(group: Group) -> group_pb2.Group:
    claims = caller()
    return group_message(group, shows_code=claims.user_id == group.owner_id or claims.may(_WRITERS))


def _denied() -> ServiceError:
    return ServiceError(Reason.PERMISSION_DENIED, "A player acts for themselves alone.")
