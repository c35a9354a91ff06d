"""Groups of players in MongoDB.

Owns `groups` {_id: group id, title, owner_id, code, created_at, members: [{user_id, joined_at}], boards: [{board,
entered_at}], edition}. A change of a group reads and replaces its document in one transaction, which the boards follow on
which it is a team. `edition` is 1 if it is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from services.identity.account_documents import Document
from services.identity.groups.group import MAX_GROUPS, EnteredBoard, Group, Member, without_member
from services.identity.groups.team_boards import TeamBoardStore
from services.identity.store import in_transaction
from services.runtime.stores.mongo import unavailable_on_failure

Change = Callable[[Group], Group | None]
"""Returns the group after a change; None to delete it. It may be called again, so it must have no effects."""


class Changed(NamedTuple):
    """A group before a change, and after it; None if it is deleted."""

    before: Group
    after: Group | None


class GroupStore:
    """Every method raises UNAVAILABLE if the database does not respond; a change may then have happened."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._client = database.client
        self._groups = database["groups"]
        self._boards = TeamBoardStore(database)

    async def prepare(self) -> None:
        """Create the indexes. Idempotent."""
        async with unavailable_on_failure():
            await self._groups.create_index("code", unique=True)
            await self._groups.create_index("members.user_id")
            await self._groups.create_index("boards.board")

    async def add(self, group: Group) -> bool:
        """Store a new group; False, with nothing changed, if its id is taken."""
        async with unavailable_on_failure():
            try:
                await self._groups.insert_one(_document(group))
            except DuplicateKeyError:
                return False
        return True

    async def group(self, group_id: str) -> Group | None:
        """Return the group with this id."""
        return await self._find({"_id": group_id})

    async def edition(self, group_id: str) -> int | None:
        """Return the edition of a group; None if there is none."""
        async with unavailable_on_failure():
            document = await self._groups.find_one({"_id": group_id}, {"edition": 1})
        return None if document is None else _edition(document)

    async def group_by_code(self, code: str) -> Group | None:
        """Return the group with this invite code."""
        return await self._find({"code": code})

    async def of_player(self, user_id: str) -> list[Group]:
        """Return the groups of which a player is a member, latest first, at most 50."""
        found = self._groups.find({"members.user_id": user_id}).sort("created_at", DESCENDING).limit(MAX_GROUPS)
        async with unavailable_on_failure():
            return [_group(each) async for each in found]

    async def teams(self, board: str, edition: int) -> tuple[int, list[Group]]:
        """Return the edition of a board's teams, and the groups, by id; no groups if the edition is the given one."""
        current = await self._boards.edition(board)
        if current == edition:
            return current, []
        # What changes between the two reads is in the groups already, and makes another edition.
        found = self._groups.find({"boards.board": board}).sort("_id", ASCENDING)
        async with unavailable_on_failure():
            return current, [_group(each) async for each in found]

    async def change(self, group_id: str, change: Change) -> Changed | None:
        """Change a group; None if there is none. What `change` raises leaves it as it is, and so does BoardFullError."""

        async def work(transaction: AsyncClientSession) -> Changed | None:
            document = await self._groups.find_one({"_id": group_id}, session=transaction)
            return None if document is None else await self._replace(_group(document), change, transaction)

        return await in_transaction(self._client, work)

    async def remove_player(self, user_id: str, transaction: AsyncClientSession) -> None:
        """Take a player off all their groups. The driver's errors are not translated."""
        async for document in self._groups.find({"members.user_id": user_id}, session=transaction):
            await self._replace(_group(document), lambda group: without_member(group, user_id), transaction)

    async def _replace(self, before: Group, change: Change, transaction: AsyncClientSession) -> Changed:
        after = change(before)
        if after is None:
            await self._groups.delete_one({"_id": before.group_id}, session=transaction)
        elif after != before:
            after = replace(after, edition=before.edition + 1)
            await self._groups.replace_one({"_id": before.group_id}, _document(after), session=transaction)
        await self._boards.follow(before, after, transaction)
        return Changed(before, after)

    async def _find(self, query: Document) -> Group | None:
        async with unavailable_on_failure():
            document = await self._groups.find_one(query)
        return None if document is None else _group(document)


def _document(group: Group) -> Document:
    return {
        "_id": group.group_id,
        "title": group.title,
        "owner_id": group.owner_id,
        "code": group.code,
        "created_at": group.created_at,
        "members": [{"user_id": each.user_id, "joined_at": each.joined_at} for each in group.members],
        "boards": [{"board": each.board, "entered_at": each.entered_at} for each in group.boards],
        "edition": group.edition,
    }


def _group(document: Document) -> Group:
    members = tuple(Member(each["user_id"], each["joined_at"]) for each in document["members"])
    return Group(
        document["_id"],
        document["title"],
        document["owner_id"],
        document["code"],
        document["created_at"],
        members,
        tuple(EnteredBoard(each["board"], each["entered_at"]) for each in document.get("boards", ())),
        _edition(document),
    )


def _edition(document: Document) -> int:
    return int(document.get("edition", 1))
