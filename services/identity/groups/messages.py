"""Groups as messages."""

from __future__ import annotations

from topten.group.v1 import group_pb2

from services.identity.groups.group import Group, Member
from services.runtime.clock import milliseconds_of


def group_message(group: Group, *, shows_code: bool) -> group_pb2.Group:
    """Return a group, with its invite code for those who may give it away."""
    message = group_pb2.Group(
        group_id=group.group_id,
        title=group.title,
        owner_id=group.owner_id,
        invite_code=group.code if shows_code else "",
        member_count=len(group.members),
        boards=[each.board for each in group.boards],
    )
    message.created_at.FromDatetime(group.created_at)
    return message


def member_message(member: Member) -> group_pb2.Member:
    """Return a member."""
    message = group_pb2.Member(user_id=member.user_id)
    message.joined_at.FromDatetime(member.joined_at)
    return message


def team_message(group: Group, board: str) -> group_pb2.Team:
    """Return a group as a team on a board that it is on."""
    entered_at = next(each.entered_at for each in group.boards if each.board == board)
    since = [milliseconds_of(max(each.joined_at, entered_at)) for each in group.members]
    user_ids = [each.user_id for each in group.members]
    return group_pb2.Team(group_id=group.group_id, title=group.title, user_ids=user_ids, counts_since_ms=since)


def membership_message(group: Group, user_id: str) -> group_pb2.Membership:
    """Return the membership of one of the group's members."""
    message = group_pb2.Membership(group_id=group.group_id, title=group.title, is_owner=group.owner_id == user_id)
    message.joined_at.FromDatetime(next(each.joined_at for each in group.members if each.user_id == user_id))
    return message
