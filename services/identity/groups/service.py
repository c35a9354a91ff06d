"""The use cases of groups of players: create, join, leave, and the acts of owners.

`owner_id` is the player in whose name an owner's act is done; None for an admin or a service, who may change any group.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

import structlog
from prometheus_client import Counter

from services.boards.definition import Definition
from services.identity.groups.group import (
    MAX_BOARDS,
    MAX_GROUPS,
    MAX_MEMBERS,
    MAX_OWNED,
    Group,
    GroupFullError,
    Member,
    TooManyBoardsError,
    new_code,
    new_group,
    off_board,
    on_board,
    read_code,
    with_member,
    without_member,
)
from services.identity.groups.group_store import Changed, GroupStore
from services.identity.groups.team_boards import MAX_TEAMS, BoardDefinitions, BoardFullError
from services.identity.service import refuse_if_blocked
from services.identity.store import IdentityStore
from services.runtime.errors import Reason, ServiceError, invalid
from services.runtime.page_tokens import page_token, read_page_token

DEFAULT_PAGE: Final = 100
group_changes = Counter("topten_group_changes_total", "Changes of groups of players, by kind", ["kind"])
_log = structlog.get_logger("groups")


class MemberPage(NamedTuple):
    """Members in the order in which they joined, the token of the next page, empty on the last one, and one for each.

    `edition` is that of the group.
    """

    members: list[Member]
    next_page_token: str
    cursors: list[str]
    edition: int


class Groups:
    """Every method raises UNAVAILABLE if the database does not respond."""

    def __init__(
        self, store: GroupStore, boards: BoardDefinitions, accounts: IdentityStore, *, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._boards = boards
        self._accounts = accounts
        self._now = now

    async def put(self, group_id: str, title: str, user_id: str, *, owner_id: str | None) -> tuple[Group, bool]:
        """Create a group of a player, or change the title of one; return it, and whether anything changed.

        A deleted group whose members have a board is not created again: the board was defined for others.
        Raises GROUP_NOT_FOUND, LIMIT_REACHED, PLAYER_NOT_FOUND, PLAYER_BLOCKED.
        """
        if await self._store.group(group_id) is None:
            await self._check_player(user_id)
            if await self._boards.shows_members_of(group_id):
                raise _not_found()
            groups = await self._store.of_player(user_id)
            if sum(each.owner_id == user_id for each in groups) >= MAX_OWNED:
                raise _limit(f"A player may own at most {MAX_OWNED} groups. Delete one first.")
            _check_count(groups)
            group = new_group(group_id, title, user_id, self._now())
            if await self._store.add(group):
                self._report("created", group_id, user_id)
                return group, True
        changed = await self._change(group_id, owner_id, lambda group: replace(group, title=title))
        return _kept(changed.after), changed.after != changed.before

    async def group(self, group_id: str, *, viewer_id: str | None) -> Group:
        """Return a group as a member sees it; `viewer_id` None sees any. Raises GROUP_NOT_FOUND."""
        group = await self._store.group(group_id)
        if group is None or not (viewer_id is None or group.has(viewer_id)):
            raise _not_found()
        return group

    async def of_player(self, user_id: str) -> list[Group]:
        """Return the groups of a player, latest first, at most 50."""
        return await self._store.of_player(user_id)

    async def members(
        self, group_id: str, size: int, token: str, *, viewer_id: str | None, edition: int = 0
    ) -> MemberPage:
        """Return a page of members, none if the group has this `edition`; a `size` of 0 means 100.

        Raises GROUP_NOT_FOUND, INVALID_ARGUMENT, CURSOR_EXPIRED.
        """
        listing = f"group {group_id}"
        position = read_page_token(token, listing, str, str)
        if edition and viewer_id is None and await self._store.edition(group_id) == edition:
            return MemberPage([], "", [], edition)
        group = await self.group(group_id, viewer_id=viewer_id)
        # By when they joined, so that members who leave move no page.
        places = [((each.joined_at.isoformat(), each.user_id), each) for each in group.members]
        places = sorted(place for place in places if position is None or place[0] > position)
        page = places[: size or DEFAULT_PAGE]
        cursors = [page_token(listing, *place) for place, _ in page]
        next_page_token = cursors[-1] if len(places) > len(page) else ""
        return MemberPage([member for _, member in page], next_page_token, cursors, group.edition)

    async def join(self, code: str, user_id: str) -> tuple[Group, bool]:
        """Make a player a member; return the group, and whether they were none before.

        Raises GROUP_NOT_FOUND, LIMIT_REACHED, PLAYER_NOT_FOUND, PLAYER_BLOCKED.
        """
        await self._check_player(user_id)
        code = read_code(code)
        found = await self._store.group_by_code(code)
        if found is None:
            raise _not_found()
        if found.has(user_id):
            return found, False
        _check_count(await self._store.of_player(user_id))

        def change(group: Group) -> Group:
            if group.code != code:
                raise _not_found()
            try:
                return with_member(group, user_id, self._now())
            except GroupFullError:
                raise _limit(f"The group is full: it has {MAX_MEMBERS} members.") from None

        changed = await self._store.change(found.group_id, change)
        if changed is None:
            raise _not_found()
        if changed.after != changed.before:
            self._report("joined", found.group_id, user_id)
        return _kept(changed.after), changed.after != changed.before

    async def remove(self, group_id: str, user_id: str, *, actor_id: str | None) -> bool:
        """Remove a player from a group; True if they were a member. `actor_id` None may remove anybody.

        Raises GROUP_NOT_FOUND if the actor is no member either, PERMISSION_DENIED.
        """

        def change(group: Group) -> Group | None:
            if actor_id not in (None, user_id, group.owner_id):
                raise _not_owner() if group.has(actor_id or "") else _not_found()
            return without_member(group, user_id)

        changed = await self._store.change(group_id, change)
        if changed is None and actor_id != user_id:
            raise _not_found()
        if changed is None or changed.after == changed.before:
            return False
        self._report("left" if actor_id == user_id else "removed", group_id, user_id)
        return True

    async def rotate_code(self, group_id: str, *, owner_id: str | None) -> Group:
        """Give a group another invite code. Raises GROUP_NOT_FOUND, PERMISSION_DENIED."""
        changed = await self._change(group_id, owner_id, lambda group: replace(group, code=new_code()))
        self._report("code_rotated", group_id, owner_id or "")
        return _kept(changed.after)

    async def enter(
        self, group_id: str, board: str, *, owner_id: str | None, may_read: Callable[[Definition], bool]
    ) -> tuple[Group, bool]:
        """Make a group a team on a board; return it, and whether it was none before.

        Raises GROUP_NOT_FOUND, PERMISSION_DENIED, BOARD_NOT_FOUND, INVALID_ARGUMENT, LIMIT_REACHED, PLAYER_BLOCKED.
        """
        if owner_id is not None:
            await self._check_player(owner_id)
        _check_board(await self._boards.find(board), may_read)

        def change(group: Group) -> Group:
            try:
                return on_board(group, board, self._now())
            except TooManyBoardsError:
                raise _limit(f"A group is on at most {MAX_BOARDS} boards. Leave one first.") from None

        try:
            changed = await self._change(group_id, owner_id, change)
        except BoardFullError:
            raise _limit(f"The board is full: it has {MAX_TEAMS} teams.") from None
        if changed.after != changed.before:
            self._report("entered_board", group_id, owner_id or "")
        return _kept(changed.after), changed.after != changed.before

    async def leave_board(self, group_id: str, board: str, *, owner_id: str | None) -> tuple[Group, bool]:
        """Remove a group from a board; return it, and whether it was on it. Raises GROUP_NOT_FOUND, PERMISSION_DENIED."""
        changed = await self._change(group_id, owner_id, lambda group: off_board(group, board))
        if changed.after != changed.before:
            self._report("left_board", group_id, owner_id or "")
        return _kept(changed.after), changed.after != changed.before

    async def teams(self, board: str, edition: int) -> tuple[int, list[Group]]:
        """Return the edition of a board's teams, and the groups; no groups if the edition is the given one."""
        return await self._store.teams(board, edition)

    async def delete(self, group_id: str, *, owner_id: str | None) -> bool:
        """Delete a group; True if there was one that the owner sees. Raises PERMISSION_DENIED."""
        try:
            await self._change(group_id, owner_id, lambda _: None)
        except ServiceError as error:
            if error.reason is Reason.GROUP_NOT_FOUND:
                return False
            raise
        self._report("deleted", group_id, owner_id or "")
        return True

    async def _change(self, group_id: str, owner_id: str | None, change: Callable[[Group], Group | None]) -> Changed:
        def checked(group: Group) -> Group | None:
            if owner_id is not None and owner_id != group.owner_id:
                raise _not_owner() if group.has(owner_id) else _not_found()
            return change(group)

        changed = await self._store.change(group_id, checked)
        if changed is None:
            raise _not_found()
        return changed

    async def _check_player(self, user_id: str) -> None:
        account = await self._accounts.account(user_id)
        if account is None:
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "No player has this ID.")
        refuse_if_blocked(account, self._now())

    def _report(self, kind: str, group_id: str, user_id: str) -> None:
        group_changes.labels(kind).inc()
        _log.info("group changed", kind=kind, group=group_id, player=user_id)


def _check_count(groups: list[Group]) -> None:
    if len(groups) >= MAX_GROUPS:
        raise _limit(f"A player may be in at most {MAX_GROUPS} groups. Leave one first.")


def _check_board(definition: Definition | None, may_read: Callable[[Definition], bool]) -> None:
    if definition is None or not may_read(definition):
        message = "No board has this name."
        raise ServiceError(Reason.BOARD_NOT_FOUND, message, violations=[("board_name", message)])
    if definition.teams is None:
        raise invalid("board_name", "ranks players, not teams", "The board ranks players, not teams.")
    if definition.state == "archived":
        raise invalid("board_name", "is archived", "The board is archived.")


def _kept(group: Group | None) -> Group:
    assert group is not None, "the change deletes no group"
    return group


def _limit(message: str) -> ServiceError:
    return ServiceError(Reason.LIMIT_REACHED, message)


def _not_found() -> ServiceError:
    return ServiceError(Reason.GROUP_NOT_FOUND, "No group of yours has this ID or invite code.")


def _not_owner() -> ServiceError:
    return ServiceError(Reason.PERMISSION_DENIED, "Only the owner of the group may do this.")
