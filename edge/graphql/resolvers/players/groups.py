"""Groups of players: creating, joining and leaving them, and their boards."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Final, Self

import strawberry
from topten.group.v1 import group_pb2
from topten.group.v1 import group_service_pb2 as messages
from topten.leaderboard.v1.leaderboard_service_pb2 import GetGroupLeaderboardRequest

from edge.graphql.execution.context import Info
from edge.graphql.fields import field, rpc
from edge.graphql.resolvers.boards.boards import board_text
from edge.graphql.resolvers.boards.leaderboards import Board, LeaderboardEdge, WhichBoard
from edge.graphql.resolvers.paging import ENTRIES, After, PageInfo, UpTo100, page_info
from edge.graphql.resolvers.types import LeaderboardEntry, User
from edge.times import time_of

TYPICAL_GROUPS: Final = 5
TYPICAL_BOARDS: Final = 1
BoardArgument = Annotated[str, strawberry.argument(description="The name of a defined board that ranks teams.")]
GroupIdArgument = Annotated[strawberry.ID, strawberry.argument(description="The group's ID.")]


@strawberry.type(description="Players who compare themselves with each other. Anyone with the invite code may join.")
class Group:
    group_id: strawberry.ID
    title: str
    owner_id: strawberry.ID = strawberry.field(description="The user ID of the owner, who is a member.")
    invite_code: str | None = strawberry.field(description="For `joinGroup`; null unless the caller owns the group.")
    member_count: int = strawberry.field(description="At most 500.")
    created_at: datetime
    boards: list[str] = field(
        size=TYPICAL_BOARDS,
        description="The boards on which it is a team, by name; at most 10. Who reads them sees its title and its score, but "
        "not its members.",
    )

    @classmethod
    def from_proto(cls, group: group_pb2.Group) -> Self:
        return cls(
            group_id=strawberry.ID(group.group_id),
            title=group.title,
            owner_id=strawberry.ID(group.owner_id),
            invite_code=group.invite_code or None,
            member_count=group.member_count,
            created_at=time_of(group.created_at),
            boards=list(group.boards),
        )


@strawberry.type(description="The effect of a change of a group.")
class GroupChange:
    group: Group
    changed: bool = strawberry.field(description="False if it was so before.")


@strawberry.type(description="A member of a group.")
class GroupMember:
    user_id: strawberry.ID
    joined_at: datetime

    # One call for all of a page, but each waits for it by itself.
    @field(cost=10, description="The account; null if it no longer exists.")
    async def user(self, info: Info) -> User | None:
        user = await info.context.users.load(self.user_id)
        return None if user is None else User.from_proto(user)


@strawberry.type(description="A member of a page.")
class GroupMemberEdge:
    cursor: str = strawberry.field(description="Pass it as `after` to continue behind this member.")
    node: GroupMember


@strawberry.type(description="A page of members, first joined first.")
class GroupMemberConnection:
    edges: list[GroupMemberEdge] = field(size=1)  # as many as the page has
    page_info: PageInfo


@strawberry.type(
    description="The board of a group: its members, ranked among themselves by their places on a board of all players."
)
class GroupLeaderboard:
    board: Board = strawberry.field(
        description="The board on which they are compared; `totalCount` is the number of ranked members."
    )
    member_count: int = strawberry.field(description="The number of members, ranked or not.")
    me: LeaderboardEntry | None = strawberry.field(description="The caller's entry; null if the caller is not ranked.")
    edges: list[LeaderboardEdge] = field(
        size=1,  # as many as the page has
        description="In rank order. Rank and gap are those in the group; `previousRank` is null.",
    )
    page_info: PageInfo


@strawberry.input(description="A group to create, or another title for one.")
class GroupInput:
    group_id: strawberry.ID | None = strawberry.field(
        default=None,
        description="A UUID. Of a group of the caller's: its title changes. Choose one for a new group to be able to send the "
        "request again; a random one by default.",
    )
    title: str = strawberry.field(description="1 to 60 characters.")


@strawberry.type
class GroupQuery:
    @field(
        access=rpc("group.ListGroups"),
        cost=30,
        size=TYPICAL_GROUPS,
        description="The groups of the caller, latest first; at most 50.",
    )
    async def my_groups(self, info: Info) -> list[Group] | None:
        context = info.context
        request = messages.ListGroupsRequest(user_id=context.caller.require().user_id)
        response = await context.call(context.upstreams.group.ListGroups, request)
        return [Group.from_proto(group) for group in response.groups]

    @field(
        access=rpc("group.ListMembers"),
        cost=30,
        size=ENTRIES,
        description="The members of a group of the caller's, one page at a time.",
    )
    async def group_members(
        self, info: Info, group_id: GroupIdArgument, first: UpTo100 = 20, after: After = None
    ) -> GroupMemberConnection | None:
        context = info.context
        request = messages.ListMembersRequest(group_id=group_id, page_size=first, page_token=after or "")
        page = await context.call(context.upstreams.group.ListMembers, request)
        return GroupMemberConnection(
            edges=[
                GroupMemberEdge(
                    cursor=cursor,
                    node=GroupMember(user_id=strawberry.ID(member.user_id), joined_at=time_of(member.joined_at)),
                )
                for member, cursor in zip(page.members, page.cursors, strict=True)
            ],
            page_info=page_info(page.cursors, page.next_page_token, after),
        )

    @field(
        access=rpc("leaderboard.GetGroupLeaderboard"),
        cost=60,
        size=ENTRIES,
        description="The board of a group of the caller's, one page at a time, with everything that its members did before "
        "they joined.",
    )
    async def group_leaderboard(
        self,
        info: Info,
        group_id: GroupIdArgument,
        board: WhichBoard = None,
        first: UpTo100 = 10,
        after: After = None,
    ) -> GroupLeaderboard | None:
        context = info.context
        request = GetGroupLeaderboardRequest(
            group_id=group_id,
            board=board_text(board),
            page_size=first,
            page_token=after or "",
            user_id=context.caller.require().user_id,
        )
        response = await context.call(context.upstreams.leaderboard.GetGroupLeaderboard, request)
        context.note_board(response.board)
        return GroupLeaderboard(
            board=Board.from_proto(response.board),
            member_count=response.member_count,
            me=LeaderboardEntry.from_proto(response.own) if response.HasField("own") else None,
            edges=[
                LeaderboardEdge(cursor=listed.cursor, node=LeaderboardEntry.from_proto(listed.entry))
                for listed in response.entries
            ],
            page_info=page_info([listed.cursor for listed in response.entries], response.next_page_token, after),
        )


@strawberry.type
class GroupMutation:
    @field(
        access=rpc("group.PutGroup"),
        cost=200,
        rate="write",
        description="Creates a group of which the caller is owner and first member, or changes the title of one. A player "
        "owns at most 20 groups.",
    )
    async def put_group(self, info: Info, input: GroupInput) -> GroupChange | None:
        context = info.context
        request = messages.PutGroupRequest(group_id=input.group_id or str(uuid.uuid4()), title=input.title)
        response = await context.call(context.upstreams.group.PutGroup, request)
        return GroupChange(group=Group.from_proto(response.group), changed=response.changed)

    @field(
        access=rpc("group.JoinGroup"),
        cost=200,
        rate="join",
        description="Joins the group with an invite code. A group has at most 500 members, and a player is in at most 50.",
    )
    async def join_group(
        self, info: Info, code: Annotated[str, strawberry.argument(description="The invite code, regardless of case.")]
    ) -> GroupChange | None:
        context = info.context
        response = await context.call(context.upstreams.group.JoinGroup, messages.JoinGroupRequest(invite_code=code))
        return GroupChange(group=Group.from_proto(response.group), changed=response.changed)

    @field(
        access=rpc("group.RemoveMember"),
        cost=200,
        rate="write",
        description="Leaves a group; true if the caller was a member. When the owner leaves, the member who joined first "
        "becomes owner; with its last member the group is deleted.",
    )
    async def leave_group(self, info: Info, group_id: GroupIdArgument) -> bool | None:
        context = info.context
        request = messages.RemoveMemberRequest(group_id=group_id, user_id=context.caller.require().user_id)
        return (await context.call(context.upstreams.group.RemoveMember, request)).removed

    @field(
        access=rpc("group.RemoveMember"),
        cost=200,
        rate="write",
        description="Takes a player off a group of the caller's own; true if they were a member. Anyone with the invite code "
        "can join again: rotate it.",
    )
    async def remove_group_member(
        self,
        info: Info,
        group_id: GroupIdArgument,
        user_id: Annotated[strawberry.ID, strawberry.argument(description="The member's ID.")],
    ) -> bool | None:
        context = info.context
        request = messages.RemoveMemberRequest(group_id=group_id, user_id=user_id)
        return (await context.call(context.upstreams.group.RemoveMember, request)).removed

    @field(
        access=rpc("group.RotateInviteCode"),
        cost=200,
        rate="write",
        description="Gives a group of the caller's own another invite code. Nobody joins with the former one any more.",
    )
    async def rotate_invite_code(self, info: Info, group_id: GroupIdArgument) -> Group | None:
        context = info.context
        request = messages.RotateInviteCodeRequest(group_id=group_id)
        return Group.from_proto((await context.call(context.upstreams.group.RotateInviteCode, request)).group)

    @field(
        access=rpc("group.EnterBoard"),
        cost=200,
        rate="write",
        description="Makes a group of the caller's own a team on a board that ranks teams: everybody who may read the board "
        "sees its title and its score. A group is on at most 10 boards, and a board has at most 100 teams.",
    )
    async def enter_board(self, info: Info, group_id: GroupIdArgument, board_name: BoardArgument) -> GroupChange | None:
        context = info.context
        request = messages.EnterBoardRequest(group_id=group_id, board_name=board_name)
        response = await context.call(context.upstreams.group.EnterBoard, request)
        return GroupChange(group=Group.from_proto(response.group), changed=response.changed)

    @field(
        access=rpc("group.LeaveBoard"),
        cost=200,
        rate="write",
        description="Takes a group of the caller's own off a board, its past periods included.",
    )
    async def leave_board(self, info: Info, group_id: GroupIdArgument, board_name: BoardArgument) -> GroupChange | None:
        context = info.context
        request = messages.LeaveBoardRequest(group_id=group_id, board_name=board_name)
        response = await context.call(context.upstreams.group.LeaveBoard, request)
        return GroupChange(group=Group.from_proto(response.group), changed=response.changed)

    @field(
        access=rpc("group.DeleteGroup"),
        cost=200,
        rate="write",
        description="Deletes a group of the caller's own; true if there was one. Scores stay as they are.",
    )
    async def delete_group(self, info: Info, group_id: GroupIdArgument) -> bool | None:
        context = info.context
        request = messages.DeleteGroupRequest(group_id=group_id)
        return (await context.call(context.upstreams.group.DeleteGroup, request)).deleted
