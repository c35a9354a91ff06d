"""Groups of players of a running system, with the operator's token."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.json_format import MessageToJson
from topten.group.v1 import group_service_pb2 as messages

from services.cli.system.client import Endpoints
from services.cli.system.operator_client import group_service
from services.runtime.grpc.client import call

Report = Callable[[str], None]


async def list_groups(endpoints: Endpoints, user_id: str, *, report: Report) -> None:
    """Report the groups of a player, each as one line of JSON, without their invite codes."""
    async with group_service(endpoints) as (stub, token):
        response = await call(stub.ListGroups, messages.ListGroupsRequest(user_id=user_id), token=token)
    for group in response.groups:
        group.ClearField("invite_code")
        report(MessageToJson(group, indent=None, ensure_ascii=False))


async def list_members(endpoints: Endpoints, group_id: str, *, report: Report) -> None:
    """Report the members of a group, each as one line of JSON. Raises GROUP_NOT_FOUND."""
    request = messages.ListMembersRequest(group_id=group_id)
    async with group_service(endpoints) as (stub, token):
        while True:
            page = await call(stub.ListMembers, request, token=token)
            for member in page.members:
                report(MessageToJson(member, indent=None))
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


async def remove_member(endpoints: Endpoints, group_id: str, user_id: str) -> bool:
    """Remove a player from a group; True if they were a member. Raises GROUP_NOT_FOUND."""
    request = messages.RemoveMemberRequest(group_id=group_id, user_id=user_id)
    async with group_service(endpoints) as (stub, token):
        return (await call(stub.RemoveMember, request, token=token)).removed


async def rotate_invite_code(endpoints: Endpoints, group_id: str) -> None:
    """Give a group another invite code. Raises GROUP_NOT_FOUND."""
    async with group_service(endpoints) as (stub, token):
        await call(stub.RotateInviteCode, messages.RotateInviteCodeRequest(group_id=group_id), token=token)


async def enter_board(endpoints: Endpoints, group_id: str, board: str) -> bool:
    """Make a group a team on a board; True if it was none. Raises GROUP_NOT_FOUND, BOARD_NOT_FOUND, LIMIT_REACHED."""
    request = messages.EnterBoardRequest(group_id=group_id, board_name=board)
    async with group_service(endpoints) as (stub, token):
        return (await call(stub.EnterBoard, request, token=token)).changed


async def leave_board(endpoints: Endpoints, group_id: str, board: str) -> bool:
    """Remove a group from a board; True if it was on it. Raises GROUP_NOT_FOUND."""
    request = messages.LeaveBoardRequest(group_id=group_id, board_name=board)
    async with group_service(endpoints) as (stub, token):
        return (await call(stub.LeaveBoard, request, token=token)).changed


async def delete_group(endpoints: Endpoints, group_id: str) -> bool:
    """Delete a group; True if there was one."""
    async with group_service(endpoints) as (stub, token):
        return (await call(stub.DeleteGroup, messages.DeleteGroupRequest(group_id=group_id), token=token)).deleted
