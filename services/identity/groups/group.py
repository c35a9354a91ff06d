"""A group of players, how its membership changes, and on which boards it is a team. Pure.

Every group has a member at least, and its owner is one: when the owner leaves, the member who joined first becomes owner, and
a group that its last member leaves is gone.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

MAX_MEMBERS: Final = 500
MAX_GROUPS: Final = 50
"""Groups of a player."""
MAX_OWNED: Final = 20
MAX_BOARDS: Final = 10
"""Boards on which a group is a team."""
CODE_LENGTH: Final = 12
# Of Crockford's base 32: no letter is taken for a digit. A code has 60 random bits.
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READ_AS: Final = str.maketrans("OIL", "011", "- ")


class GroupFullError(Exception):
    """The group has as many members as one may have."""


class TooManyBoardsError(Exception):
    """The group is on as many boards as one may be."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member, and when they joined."""

    user_id: str
    joined_at: datetime


@dataclass(frozen=True, slots=True)
class EnteredBoard:
    """A board on which a group is a team, by name, and since when."""

    board: str
    entered_at: datetime


@dataclass(frozen=True, slots=True)
class Group:
    """A group; `members` are in the order in which they joined. `edition` rises with every change, from 1."""

    group_id: str
    title: str
    owner_id: str
    code: str
    created_at: datetime
    members: tuple[Member, ...]
    boards: tuple[EnteredBoard, ...] = ()
    edition: int = 1

    @property
    def board_names(self) -> frozenset[str]:
        """The names of the boards on which it is a team."""
        return frozenset(each.board for each in self.boards)

    def has(self, user_id: str) -> bool:
        """Whether a player is a member."""
        return any(each.user_id == user_id for each in self.members)


def new_group(group_id: str, title: str, owner_id: str, at: datetime) -> Group:
    """Return a new group, whose owner is its first member."""
    return Group(group_id, title, owner_id, new_code(), at, (Member(owner_id, at),))


def with_member(group: Group, user_id: str, at: datetime) -> Group:
    """Return the group with one more member, or as it is if the player is one. Raises GroupFullError."""
    if group.has(user_id):
        return group
    if len(group.members) >= MAX_MEMBERS:
        raise GroupFullError
    return replace(group, members=(*group.members, Member(user_id, at)))


def without_member(group: Group, user_id: str) -> Group | None:
    """Return the group without a player; None if nobody is left."""
    members = tuple(each for each in group.members if each.user_id != user_id)
    if not members:
        return None
    owner_id = members[0].user_id if group.owner_id == user_id else group.owner_id
    return replace(group, owner_id=owner_id, members=members)


def on_board(group: Group, board: str, at: datetime) -> Group:
    """Return the group with one more board, or as it is if it is on it. Raises TooManyBoardsError."""
    if board in group.board_names:
        return group
    if len(group.boards) >= MAX_BOARDS:
        raise TooManyBoardsError
    return replace(group, boards=(*group.boards, EnteredBoard(board, at)))


def off_board(group: Group, board: str) -> Group:
    """Return the group without a board."""
    return replace(group, boards=tuple(each for each in group.boards if each.board != board))


def new_code() -> str:
    """Return a new invite code."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(CODE_LENGTH))


def read_code(text: str) -> str:
    """Return an invite code as it is stored: without hyphens and spaces, in upper case, O, I and L read as digits."""
    return text.upper().translate(_READ_AS)
