"""Action types and the actions of players over GraphQL, from the definition to the boards, over real processes."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest

from services.cli.identity.accounts import grant_role
from services.cli.system.client import GraphqlClient, GraphqlError
from tests.players import PASSWORD, Player, endpoints, register, shows, stream, until
from tests.servers import RunningStack, unique
from tests.system.graphql import Web

PUT = "mutation ($input: ActionTypeInput!) { putActionType(input: $input) { version changed } }"
ARCHIVE = "mutation ($id: ID!) { archiveActionType(actionTypeId: $id) { version changed } }"
SUBMIT = """mutation ($input: ActionInput!) {
  submitAction(input: $input) {
    success message actionId duplicate pointsAwarded total standings { board rank score }
  }
}"""
LIST = """query ($after: String) { actionTypes(first: 2, after: $after) {
  edges { cursor node {
    actionTypeId title submitters state limits { maxActions maxPoints per cooldown } timestampWindow { back ahead }
    rule {
      fixed { points } perUnit { pointsPerUnit maxUnits } table { points { outcome points } } reported { minimum maximum }
    }
  } }
  pageInfo { hasNextPage endCursor }
} }"""
RULES: dict[str, Any] = {
    "fixed": {"points": 5},
    "perUnit": {"pointsPerUnit": 2, "maxUnits": 100},
    "table": {"points": [{"outcome": "draw", "points": 1}, {"outcome": "win", "points": 3}]},
    "reported": {"minimum": 1, "maximum": 9},
}


@pytest.fixture
async def admin(stack: RunningStack, client: GraphqlClient) -> str:
    """The access token of an admin."""
    account = await register(client)
    await grant_role(endpoints(stack), account.username, "admin")
    return await client.login(account.username, PASSWORD)


def definition(rule: str, **changes: Any) -> dict[str, Any]:
    """Return the definition of a new action type of players."""
    fields = {"actionTypeId": unique("walk-"), "title": "Walk", "submitters": "PLAYERS", "rule": {rule: RULES[rule]}}
    return fields | changes


async def define(client: GraphqlClient, admin: str, rule: str, **changes: Any) -> str:
    stated = definition(rule, **changes)
    data = await client.execute(PUT, {"input": stated}, admin)
    assert data["putActionType"] == {"version": 1, "changed": True}
    action_type_id: str = stated["actionTypeId"]
    return action_type_id


async def submit(player: Player, action_type_id: str, **fields: Any) -> dict[str, Any]:
    stated = {"actionTypeId": action_type_id, "actionId": str(uuid.uuid4())} | fields
    data = await player.client.execute(SUBMIT, {"input": stated}, player.access_token)
    result: dict[str, Any] = data["submitAction"]
    return result


async def test_an_action_of_a_player_moves_the_board_and_counts_once(
    stack: RunningStack, client: GraphqlClient, admin: str
) -> None:
    walk, match = await define(client, admin, "perUnit"), await define(client, admin, "table", submitters="BOTH")
    bonus = await define(client, admin, "fixed", timestampWindow={"back": 86400, "ahead": 0.5})
    player, action_id = await register(client, country="NR"), str(uuid.uuid4())
    async with stream(stack.http, player.access_token, "country:NR") as events:
        first = await submit(player, walk, actionId=action_id.upper(), quantity=3)
        expected = {"success": True, "message": "6 points.", "actionId": action_id, "pointsAwarded": 6}
        expected |= {"total": None, "standings": None}
        assert first == expected | {"duplicate": False}
        assert await submit(player, walk, actionId=action_id, quantity=3) == expected | {"duplicate": True}
        assert (await submit(player, match, outcome="win"))["pointsAwarded"] == 3
        assert (await submit(player, bonus))["pointsAwarded"] == 5
        await until(events, shows(player.username, 14))
    history = "{ scoreHistory { edges { node { delta actionTypeId actor } } } }"
    rows = (await client.execute(history, {}, player.access_token))["scoreHistory"]["edges"]
    found = [(row["node"]["delta"], row["node"]["actionTypeId"], row["node"]["actor"]) for row in rows]
    assert sorted(found) == sorted([(6, walk, None), (3, match, None), (5, bonus, None)])


async def test_a_counted_action_is_on_every_board_when_its_response_arrives(
    client: GraphqlClient, admin: str, player: Player
) -> None:
    walk = await define(client, admin, "perUnit")
    counted = {"wait": "COUNTED", "boards": [{"kind": "ALL"}, {"kind": "WEEKLY"}]}
    first, action_id = await submit(player, walk, quantity=3), str(uuid.uuid4())
    assert (first["total"], first["standings"]) == (None, None)
    for duplicate in (False, True):
        result = await submit(player, walk, quantity=4, actionId=action_id, **counted)
        assert (result["duplicate"], result["pointsAwarded"], result["total"]) == (duplicate, 8, 14)
        assert [(each["board"], each["score"]) for each in result["standings"]] == [("all", 14), ("weekly", 14)]
        assert all(each["rank"] for each in result["standings"])
    with pytest.raises(GraphqlError) as refused:
        await submit(player, walk, quantity=1, wait="COUNTED", boards=[{"kind": "CUSTOM", "name": "nowhere"}])
    assert refused.value.reason == "BOARD_NOT_FOUND"
    assert (await submit(player, walk, quantity=1, wait="COUNTED"))["total"] == 16


async def test_a_refused_action_has_its_reason_and_names_the_field_as_it_was_sent(
    client: GraphqlClient, web: Web, admin: str, player: Player
) -> None:
    walk, match = await define(client, admin, "perUnit"), await define(client, admin, "table")
    bonus = await define(client, admin, "fixed", limits={"maxActions": 1})
    services, closed = await define(client, admin, "fixed", submitters="SERVICES"), await define(client, admin, "fixed")
    await client.execute(ARCHIVE, {"id": closed}, admin)
    used = await submit(player, bonus)
    for fields, reason, message in (
        ({"actionTypeId": walk, "quantity": 101}, "INVALID_ARGUMENT", "input.quantity: must be 1 to 100."),
        ({"actionTypeId": walk, "quantity": -1}, "INVALID_ARGUMENT", "input.quantity: must be 1 to 100."),
        ({"actionTypeId": walk}, "INVALID_ARGUMENT", "input.quantity: is required by"),
        ({"actionTypeId": walk, "outcome": "win"}, "INVALID_ARGUMENT", "input.quantity: is required by"),
        ({"actionTypeId": match, "outcome": "loss"}, "INVALID_ARGUMENT", "input.outcome: is not an outcome"),
        ({"actionTypeId": match, "outcome": "win", "quantity": 1}, "INVALID_ARGUMENT", "input.outcome: must be absent"),
        ({"actionTypeId": bonus, "quantity": 1}, "INVALID_ARGUMENT", "input.quantity: must be absent"),
        ({"actionTypeId": walk, "actionId": "7", "quantity": 1}, "INVALID_ARGUMENT", "input.actionId: "),
        ({"actionTypeId": "", "outcome": "x" * 65}, "INVALID_ARGUMENT", "input.actionTypeId: "),
        ({"actionTypeId": walk, "quantity": 1, "occurredAt": "2020-01-01T00:00:00Z"}, "TIMESTAMP_OUT_OF_WINDOW", ""),
        ({"actionTypeId": bonus}, "LIMIT_REACHED", ""),
        ({"actionTypeId": services}, "PERMISSION_DENIED", ""),
        ({"actionTypeId": closed}, "ACTION_TYPE_CLOSED", ""),
        ({"actionTypeId": unique("none-")}, "ACTION_TYPE_NOT_FOUND", ""),
        ({"actionTypeId": walk, "actionId": used["actionId"], "quantity": 1}, "ACTION_ID_CONFLICT", ""),
    ):
        stated = {"actionId": str(uuid.uuid4())} | fields
        answer = await web.graphql(SUBMIT, {"input": stated}, player.access_token)
        (error,) = answer.body["errors"]
        assert (error["extensions"]["reason"], error["path"]) == (reason, ["submitAction"]), (fields, error)
        assert error["message"].startswith(message), (fields, error)


async def test_an_admin_defines_lists_and_archives_action_types(
    client: GraphqlClient, admin: str, player: Player
) -> None:
    limits = {"maxActions": 3, "maxPoints": None, "per": 3600.0, "cooldown": 0.5}
    window = {"back": 86400.0, "ahead": 1.5}
    stated = {rule: definition(rule, submitters="SERVICES", limits=limits, timestampWindow=window) for rule in RULES}
    for each in stated.values():
        await client.execute(PUT, {"input": each}, admin)
    again = await client.execute(PUT, {"input": stated["fixed"]}, admin)
    assert again["putActionType"] == {"version": 1, "changed": False}
    archived = stated["table"]["actionTypeId"]
    for changed in (True, False):
        data = await client.execute(ARCHIVE, {"id": archived}, admin)
        assert data["archiveActionType"] == {"version": 2, "changed": changed}
    stated_so = await client.execute(PUT, {"input": stated["table"] | {"state": "ARCHIVED"}}, admin)
    assert stated_so["putActionType"] == {"version": 2, "changed": False}

    found: dict[str, Any] = {}
    after, more = None, True
    while more:
        page = (await client.execute(LIST, {"after": after}, player.access_token))["actionTypes"]
        found |= {edge["node"]["actionTypeId"]: edge["node"] for edge in page["edges"]}
        more, after = page["pageInfo"]["hasNextPage"], page["edges"][-1]["cursor"]
        assert after == page["pageInfo"]["endCursor"]
    assert list(found) == sorted(found)
    for rule, each in stated.items():
        state = "ARCHIVED" if rule == "table" else "OPEN"
        others = dict.fromkeys(RULES)
        assert found[each["actionTypeId"]] == each | {"state": state, "rule": others | each["rule"]}


async def test_an_invalid_definition_names_the_field_as_it_was_sent(web: Web, admin: str) -> None:
    twice = [{"outcome": "win", "points": 1}, {"outcome": "win", "points": 3}]
    for changes, field in (
        ({"rule": {}}, "input.rule"),
        ({"rule": {name: RULES[name] for name in ("fixed", "perUnit")}}, "input.rule"),
        ({"rule": {"table": {"points": twice}}}, "input.rule.table.points[1].outcome"),
        ({"rule": {"table": {"points": [{"outcome": "a.b", "points": -1}]}}}, "input.rule.table.points"),
        ({"rule": {"reported": {"minimum": 2, "maximum": 1}}}, "input.rule.reported.maximum"),
        ({"rule": {"reported": RULES["reported"]}}, "input.submitters"),
        ({"limits": {"per": 60}}, "input.limits.per"),
        ({"limits": {"maxActions": 1, "per": 1e300}}, "input.limits.per"),
        ({"timestampWindow": {"back": -1, "ahead": 0}}, "input.timestampWindow.back"),
    ):
        answer = await web.graphql(PUT, {"input": definition("fixed") | changes}, admin)
        (error,) = answer.body["errors"]
        assert error["extensions"]["reason"] == "INVALID_ARGUMENT", error
        assert f"{field}: " in error["message"], (changes, error)


async def test_the_recipe_of_the_guide_runs(client: GraphqlClient, admin: str, player: Player) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "app-developer.md").read_text(encoding="utf-8")
    recipe = guide.partition("## Submit other actions")[2].partition("\n## ")[0]
    listing, submitting, defining = re.findall(r"```graphql(?: run)?\n(.*?)```", recipe, re.DOTALL)
    (stated,) = re.findall(r"with `(.*?)` as the input", recipe)
    (shown,) = re.findall(r"```json\n(.*)\n```", recipe)
    await client.execute(defining, {}, admin)
    listed = await client.execute(listing, {}, player.access_token)
    assert json.loads(stated)["actionTypeId"] in [
        edge["node"]["actionTypeId"] for edge in listed["actionTypes"]["edges"]
    ]
    data = await client.execute(submitting, {"input": json.loads(stated)}, player.access_token)
    assert data["submitAction"] == json.loads(shown)
