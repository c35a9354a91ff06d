"""A board that is not public does not exist for others: on no method, root field, stream or token, and in no list."""

from __future__ import annotations

import uuid
from typing import Any, Final

import pytest

from services.cli.system.client import GraphqlClient, GraphqlError
from tests.deadline import eventually
from tests.players import PASSWORD, Player, drained, register, stream, until
from tests.servers import RunningStack, unique
from tests.system.access.calls import called, document
from tests.system.access.permissions import FIELDS, METHODS
from tests.system.access.test_board_tokens import ISSUE, moderator
from tests.system.accounts.test_groups import JOIN, LEAVE, ask
from tests.system.actions.test_player_actions import admin, define, submit
from tests.system.boards.test_boards_as_data import put, until_ready
from tests.system.graphql import COOKIE_MODE, LOGIN, Web
from tests.system.views.test_group_boards import founded

__all__ = ["admin", "moderator"]
READS: Final = {
    name: method
    for name, method in METHODS.items()
    if name.startswith("leaderboard.") and "board" in method.input_type.fields_by_name
}
FIELDS_WITH_BOARD: Final = [
    name for name, field in FIELDS.items() if name.startswith("Query.") and "board" in field.args
]
GROUP: Final = str(uuid.uuid4())
NEEDED: Final[dict[str, Any]] = {
    "user_ids": ["x"], "user_id": "x", "percentile": 50, "points": 1, "group_id": GROUP,
}  # fmt: skip
STREAM: Final = "/api/v1/leaderboard/stream"
LISTED: Final = "{ definedBoards { name } boards { key name } }"


async def readable(stack: RunningStack, web: Web, name: str, token: str, user_id: str) -> set[str]:
    """Return where a custom board can be read: methods, root fields and the stream."""
    found = set()
    for path, method in READS.items():
        fields = {each: NEEDED[each] for each in method.input_type.fields_by_name if each in NEEDED}
        if (
            await called(stack, "leaderboard", method, {**fields, "board": f"custom:{name}"}, token)
            != "BOARD_NOT_FOUND"
        ):
            found.add(path)
    for path in FIELDS_WITH_BOARD:
        given = {"board": f'{{kind: CUSTOM, name: "{name}"}}'}
        if "userIds" in FIELDS[path].args:
            given["userIds"] = f'["{user_id}"]'
        if "groupId" in FIELDS[path].args:
            given["groupId"] = f'"{GROUP}"'
        answer = await web.graphql(document(path, given), token=token)
        errors = answer.body.get("errors", [])
        if [each["extensions"].get("reason", each["extensions"].get("code")) for each in errors] != ["BOARD_NOT_FOUND"]:
            found.add(path)
    headers = {"Authorization": f"Bearer {token}"}
    async with web.session.head(f"{web.http}{STREAM}?board=custom:{name}", headers=headers) as response:
        if response.status != 404:
            found.add(STREAM)
    return found


async def test_hidden_board_is_read_by_moderators_alone(
    stack: RunningStack, client: GraphqlClient, web: Web, admin: str, moderator: str
) -> None:
    player, name = await register(client), unique("hid-")[:32]
    everywhere = {*READS, *FIELDS_WITH_BOARD, STREAM}
    assert len(everywhere) >= 20
    await put(client, admin, name=name)
    await until_ready(client, admin, name)
    board = {"kind": "CUSTOM", "name": name}
    shared = (await web.graphql(ISSUE, {"board": board}, token=moderator)).body["data"]["boardToken"]["token"]

    async def is_read_everywhere() -> bool:
        return await readable(stack, web, name, player.access_token, player.user_id) == everywhere

    await eventually(is_read_everywhere, "every instance has the definition")
    async with stream(stack.http, player.access_token, f"custom:{name}") as events:
        await until(events, lambda _: True)
        changed = await put(client, admin, name=name, visibility="MODERATORS")
        assert (changed["changed"], changed["board"]["version"], changed["board"]["state"]) == (True, 2, "READY")
        await drained(events)  # the open stream ends

    async def is_hidden() -> bool:
        return not await readable(stack, web, name, player.access_token, player.user_id)

    await eventually(is_hidden, "no read path has the board")
    assert await readable(stack, web, name, moderator, player.user_id) == everywhere
    await lists_nowhere(client, name, player, moderator)
    async with web.session.head(f"{web.http}{STREAM}?board=custom:{name}&token={shared}") as response:
        assert response.status == 404, "a token from before reads it no longer"
    refused = await web.graphql(ISSUE, {"board": board}, token=moderator)
    assert "not public" in refused.body["errors"][0]["message"]
    step = await define(client, admin, "fixed")
    with pytest.raises(GraphqlError) as unknown:
        await submit(player, step, wait="COUNTED", boards=[board])
    assert unknown.value.reason == "BOARD_NOT_FOUND"


async def lists_nowhere(client: GraphqlClient, name: str, player: Player, moderator: str) -> None:
    """Lists have the board for the moderator alone."""
    for token, is_listed in ((player.access_token, False), (moderator, True)):
        lists = await client.execute(LISTED, {}, token)
        assert (name in {each["name"] for each in lists["definedBoards"]}) is is_listed
        assert ((f"custom:{name}", name) in {(each["key"], each["name"]) for each in lists["boards"]}) is is_listed
    data = await client.execute("{ exportMyData { data } }", {}, player.access_token)
    assert f"custom:{name}" not in str(data)


async def test_board_of_members_is_read_by_players_of_its_countries(
    stack: RunningStack, client: GraphqlClient, web: Web, admin: str
) -> None:
    name = unique("own-")[:32]
    inside, outside = await register(client, country="LA"), await register(client, country="KH")
    await put(client, admin, name=name, segment="country:LA", visibility="MEMBERS", size=10, ranks="DENSE")
    await until_ready(client, admin, name)
    assert await readable(stack, web, name, outside.access_token, outside.user_id) == set()

    async def is_open() -> bool:
        found = await readable(stack, web, name, inside.access_token, inside.user_id)
        return found == {*READS, *FIELDS_WITH_BOARD, STREAM}

    await eventually(is_open, "players of the country read it everywhere")


async def test_board_of_a_group_for_its_members_is_read_by_nobody_else_from_joining_until_leaving(
    stack: RunningStack, client: GraphqlClient, web: Web, admin: str, moderator: str
) -> None:
    owner, member, stranger = [await register(client) for _ in range(3)]
    group_id, code = await founded(owner)
    _, other_code = await founded(stranger)
    await ask(member, JOIN, code=other_code)
    name, everywhere = unique("club-")[:32], {*READS, *FIELDS_WITH_BOARD, STREAM}
    board = {"kind": "CUSTOM", "name": name}
    await put(client, admin, name=name, segment=f"group:{group_id}", visibility="MEMBERS")
    await until_ready(client, admin, name)

    async def reads(player: Player) -> set[str]:
        return await readable(stack, web, name, player.access_token, player.user_id)

    async def reads_all(player: Player = owner) -> bool:
        return await reads(player) == everywhere

    async def reads_nothing(player: Player = member) -> bool:
        return not await reads(player)

    await eventually(reads_all, "a member reads it everywhere")
    for outsider in (stranger, member):
        assert await reads_nothing(outsider), "members of other groups alone"
        await lists_nowhere(client, name, outsider, moderator)
    assert await readable(stack, web, name, moderator, owner.user_id) == everywhere
    refused = await web.graphql(ISSUE, {"board": board}, token=moderator)
    assert "not public" in refused.body["errors"][0]["message"]
    short = await client.execute("{ streamToken { token } }", {}, owner.access_token)
    query = f"board=custom:{name}&token={short['streamToken']['token']}"
    async with web.session.head(f"{web.http}{STREAM}?{query}") as response:
        assert response.status == 404, "what stands in an address reads public boards alone"
    step = await define(client, admin, "fixed")
    await submit(member, step, wait="COUNTED")
    with pytest.raises(GraphqlError) as unknown:
        await submit(member, step, wait="COUNTED", boards=[board])
    assert unknown.value.reason == "BOARD_NOT_FOUND"

    await ask(member, JOIN, code=code)
    await eventually(lambda: reads_all(member), "who joins reads it")
    async with (
        stream(stack.http, owner.access_token, f"custom:{name}") as of_owner,
        stream(stack.http, member.access_token, f"custom:{name}") as events,
    ):
        await until(events, lambda data: [each["userId"] for each in data["leaderboard"]] == [member.user_id])
        await ask(member, LEAVE, id=group_id)
        await drained(events)  # the open stream ends
        await until(of_owner, lambda data: data["leaderboard"] == [])
    await eventually(reads_nothing, "who left reads it no longer")
    await lists_nowhere(client, name, member, moderator)
    assert await reads_all()


async def test_the_page_of_who_may_read_a_board_streams_it_by_cookie_and_nobody_elses(
    stack: RunningStack, client: GraphqlClient, web: Web, admin: str
) -> None:
    name, player = unique("desk-")[:32], await register(client)
    await put(client, admin, name=name, visibility="MODERATORS")
    await until_ready(client, admin, name)
    staff = stack.endpoints["moderator"]

    async def status(query: str = "", **headers: str) -> int:
        async with web.session.head(f"{web.http}{STREAM}?board=custom:{name}{query}", headers=headers) as response:
            return response.status

    async def sign_in(username: str, password: str) -> None:
        given = {"input": {"username": username, "password": password}}
        assert (await web.graphql(LOGIN, given, headers=COOKIE_MODE)).status == 200

    await sign_in(player.username, PASSWORD)
    of_player = web.cookies(STREAM)["topten_board_access"]
    assert await status() == 404
    await sign_in(staff["username"], staff["password"])

    async def is_open() -> bool:
        return await status() == 200

    await eventually(is_open, "the edge has the definition")
    assert await status(**{"Sec-Fetch-Site": "same-site"}) == 403, "the page of another origin"
    token = (await web.graphql("{ streamToken { token } }", headers=COOKIE_MODE)).body["data"]["streamToken"]["token"]
    assert await status(f"&token={token}") == 404, "what stands in an address reads public boards alone"
    assert await status(Authorization=f"Bearer {player.access_token}") == 404, "the header comes first"
    own = web.cookies(STREAM)
    for access in ("", "nonsense", of_player, own["topten_stream"]):
        web.session.cookie_jar.clear()
        given = "; ".join(f"{name}={value}" for name, value in (own | {"topten_board_access": access}).items())
        assert await status(Cookie=given) == 404, access
