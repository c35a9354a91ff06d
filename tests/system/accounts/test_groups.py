"""Groups of players over GraphQL and the command line, over real processes: what a group of friends does in a week."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from services.cli.system.client import GraphqlClient, GraphqlError
from tests.deadline import eventually
from tests.players import Player, register
from tests.servers import RunningStack, run_topten
from tests.system.accounts.erasure_scene import EXPORT
from tests.system.actions.test_player_actions import admin, define, submit

__all__ = ["admin"]
GROUP = "group { groupId title ownerId inviteCode memberCount } changed"
PUT = f"mutation ($input: GroupInput!) {{ putGroup(input: $input) {{ {GROUP} }} }}"
JOIN = f"mutation ($code: String!) {{ joinGroup(code: $code) {{ {GROUP} }} }}"
LEAVE = "mutation ($id: ID!) { leaveGroup(groupId: $id) }"
REMOVE = "mutation ($id: ID!, $user: ID!) { removeGroupMember(groupId: $id, userId: $user) }"
ROTATE = "mutation ($id: ID!) { rotateInviteCode(groupId: $id) { inviteCode } }"
DELETE = "mutation ($id: ID!) { deleteGroup(groupId: $id) }"
MINE = "{ myGroups { groupId title memberCount inviteCode } }"
MEMBERS = """query ($id: ID!, $first: Int!, $after: String) { groupMembers(groupId: $id, first: $first, after: $after) {
  edges { node { userId user { username } } } pageInfo { hasNextPage endCursor }
} }"""
BOARD = """query ($id: ID!, $board: BoardInput, $first: Int!, $after: String) {
  groupLeaderboard(groupId: $id, board: $board, first: $first, after: $after) {
    board { key totalCount } memberCount me { rank } edges { node { username score rank gapToNext } } pageInfo { endCursor }
  }
}"""


async def ask(player: Player, document: str, **variables: Any) -> Any:
    """Return the value of the only root field."""
    (value,) = (await player.client.execute(document, variables, player.access_token)).values()
    return value


def nodes_of(board: Any) -> list[Any]:
    """Return the entries of a page."""
    return [edge["node"] for edge in board["edges"]]


async def refused(player: Player, document: str, **variables: Any) -> str:
    """Return the reason of a refusal."""
    with pytest.raises(GraphqlError) as error:
        await ask(player, document, **variables)
    return error.value.reason


async def test_friends_compare_themselves_with_each_other(
    stack: RunningStack, client: GraphqlClient, admin: str
) -> None:
    run = await define(client, admin, "perUnit")  # two points a unit
    ada, ben, cleo, stranger = [await register(client) for _ in range(4)]
    for player, quantity in ((ada, 3), (ben, 5), (stranger, 4)):
        await submit(player, run, quantity=quantity, wait="COUNTED")
    change = await ask(ada, PUT, input={"title": "Friends"})
    group = change["group"]
    group_id, code = group["groupId"], group["inviteCode"]
    assert (change["changed"], group["title"], group["ownerId"], group["memberCount"]) == (
        True,
        "Friends",
        ada.user_id,
        1,
    )
    assert (await ask(ada, PUT, input={"groupId": group_id, "title": "Friends"}))["changed"] is False
    joined = await ask(ben, JOIN, code=code.lower())
    assert (joined["changed"], joined["group"]["memberCount"], joined["group"]["inviteCode"]) == (True, 2, None)
    await ask(cleo, JOIN, code=code)

    async def ranked(player: Player, count: int, first: int = 100, **board: Any) -> Any:
        """Return the board once that many members are ranked."""

        async def read() -> Any:
            found = await ask(player, BOARD, id=group_id, first=first, **board)
            return found if found["board"]["totalCount"] == count else None

        return await eventually(read, f"{count} ranked members")

    board = await ranked(ben, 2)
    assert (board["board"], board["memberCount"], board["me"]) == ({"key": "all", "totalCount": 2}, 3, {"rank": 1})
    assert [(e["username"], e["score"], e["rank"], e["gapToNext"]) for e in nodes_of(board)] == [
        (ben.username, 10, 1, None),
        (ada.username, 6, 2, 4),
    ], "with what they did before they joined, and without the stranger"
    await submit(cleo, run, quantity=9, wait="COUNTED")
    weekly = await ranked(cleo, 3, board={"kind": "WEEKLY"}, first=1)
    assert [(e["username"], e["rank"]) for e in nodes_of(weekly)] == [(cleo.username, 1)]
    after = weekly["pageInfo"]["endCursor"]
    following = nodes_of(await ask(cleo, BOARD, id=group_id, board={"kind": "WEEKLY"}, first=9, after=after))
    assert [(e["username"], e["rank"], e["gapToNext"]) for e in following] == [
        (ben.username, 2, 8),
        (ada.username, 3, 4),
    ]

    pages = [await ask(ada, MEMBERS, id=group_id, first=2)]
    pages.append(await ask(ada, MEMBERS, id=group_id, first=2, after=pages[0]["pageInfo"]["endCursor"]))
    names = [edge["node"]["user"]["username"] for page in pages for edge in page["edges"]]
    assert names == [ada.username, ben.username, cleo.username]
    exported = (await ask(ben, EXPORT))["data"]["groups"]
    assert [(each["groupId"], each["isOwner"]) for each in exported] == [(group_id, False)]

    assert await refused(stranger, BOARD, id=group_id, first=10) == "GROUP_NOT_FOUND"
    assert await refused(stranger, MEMBERS, id=group_id, first=2) == "GROUP_NOT_FOUND"
    assert await refused(stranger, JOIN, code="0" * 12) == "GROUP_NOT_FOUND"
    assert await refused(ben, ROTATE, id=group_id) == "PERMISSION_DENIED"
    assert await refused(ben, REMOVE, id=group_id, user=cleo.user_id) == "PERMISSION_DENIED"
    assert await refused(ada, PUT, input={"title": ""}) == "INVALID_ARGUMENT"

    assert await ask(ada, REMOVE, id=group_id, user=cleo.user_id) is True
    assert await ask(cleo, MINE) == []
    rotated = (await ask(ada, ROTATE, id=group_id))["inviteCode"]
    assert await refused(cleo, JOIN, code=code) == "GROUP_NOT_FOUND"
    assert (await ask(cleo, JOIN, code=rotated))["changed"] is True
    assert await ask(ada, LEAVE, id=group_id) is True
    (own,) = await ask(ben, MINE)
    assert (own["memberCount"], own["inviteCode"]) == (2, rotated), "the member who joined first owns it now"

    async def command(*arguments: str) -> str:
        return (await run_topten("group", *arguments, data=stack.data)).stdout

    listed, members = await asyncio.gather(command("list", ben.user_id), command("members", group_id))
    assert [(json.loads(line)["title"], "inviteCode" in line) for line in listed.splitlines()] == [("Friends", False)]
    assert [json.loads(line)["userId"] for line in members.splitlines()] == [ben.user_id, cleo.user_id]
    removed, other_code = await asyncio.gather(
        command("remove", group_id, cleo.user_id), command("rotate-code", group_id)
    )
    assert "is no member." in removed
    assert "another invite code" in other_code
    assert await refused(cleo, JOIN, code=rotated) == "GROUP_NOT_FOUND"
    assert await ask(ben, DELETE, id=group_id) is True
    assert "deleted already" in await command("delete", group_id)
