"""Boards of groups: which there are, and which groups are on those of teams.

Owns `team_boards` {_id: name of the board, edition, groups: [group id]}. The document of a board changes in the transaction of
the group, so that its limit holds and its edition rises with everything that readers of the board see. It is kept when the
last group leaves: editions never go back. Reads the definitions of boards, which score writes.
"""

from __future__ import annotations

from typing import Any, Final

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from services.boards.definition import DEFINITIONS, Definition, from_document
from services.identity.account_documents import Document
from services.identity.groups.group import Group
from services.runtime.stores.mongo import unavailable_on_failure

MAX_TEAMS: Final = 100
"""Teams of a board."""


class BoardFullError(Exception):
    """The board has as many teams as one may have."""


class TeamBoardStore:
    """Every method without a transaction raises UNAVAILABLE if the database does not respond."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._boards = database["team_boards"]

    async def edition(self, board: str) -> int:
        """Return the edition of a board's teams; 0 if no group was ever on it."""
        async with unavailable_on_failure():
            document = await self._boards.find_one({"_id": board}, {"edition": 1})
        return 0 if document is None else document["edition"]

    async def follow(self, before: Group, after: Group | None, transaction: AsyncClientSession) -> None:
        """Follow a change of a group. Raises BoardFullError; the driver's errors are not translated."""
        if after is not None and _as_team(before) == _as_team(after):
            return
        former, now = (frozenset() if each is None else each.board_names for each in (before, after))
        for board in sorted(former | now):
            if board not in former:
                await self._refuse_if_full(board, transaction)
            change: dict[str, Any] = {"$inc": {"edition": 1}}
            if board not in former:
                change["$addToSet"] = {"groups": before.group_id}
            elif board not in now:
                change["$pull"] = {"groups": before.group_id}
            await self._boards.update_one({"_id": board}, change, upsert=True, session=transaction)

    async def _refuse_if_full(self, board: str, transaction: AsyncClientSession) -> None:
        document = await self._boards.find_one({"_id": board}, session=transaction)
        if document is not None and len(document["groups"]) >= MAX_TEAMS:
            raise BoardFullError


class BoardDefinitions:
    """Reads definitions from the database that score writes them to."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._definitions = database[DEFINITIONS]

    async def find(self, name: str) -> Definition | None:
        """Return the definition that a team made; `name` is well-formed. Raises UNAVAILABLE."""
        async with unavailable_on_failure():
            document = await self._definitions.find_one({"_id": DEFINITIONS}, {f"boards.{name}": 1})
        stored = ((document or {}).get("boards") or {}).get(name)
        return None if stored is None else from_document(name, stored)

    async def shows_members_of(self, group_id: str) -> bool:
        """Whether the members of a group have a board, an archived one included. Raises UNAVAILABLE."""
        segments = {"$map": {"input": {"$objectToArray": "$boards"}, "in": "$$this.v.segment"}}
        pipeline: list[dict[str, Any]] = [
            {"$match": {"_id": DEFINITIONS}},
            {"$project": {"is_shown": {"$in": [f"group:{group_id}", segments]}}},
        ]
        async with unavailable_on_failure():
            found = await (await self._definitions.aggregate(pipeline)).to_list()
        return any(each["is_shown"] for each in found)


def _as_team(group: Group) -> tuple[object, ...]:
    """Return what readers of a board see of a group."""
    return group.title, group.members, group.boards
