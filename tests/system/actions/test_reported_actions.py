"""What a partner reports moves the boards, over real processes, and stays explained: in the history, the export, the audit."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from topten.action.v1 import action_service_pb2 as messages
from topten.action.v1.action_service_pb2_grpc import ActionServiceStub
from topten.score.v1 import score_service_pb2
from topten.score.v1.score_service_pb2_grpc import ScoreServiceStub

from services.cli.system.client import GraphqlClient
from services.runtime.auth.service_token import ServiceToken
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call
from tests.deadline import deadline_seconds, eventually
from tests.players import Player, endpoints, register, shows, stream, until
from tests.servers import RunningStack, run_topten, unique

if TYPE_CHECKING:
    from topten.action.v1.action_service_pb2_grpc import ActionServiceAsyncStub
    from topten.score.v1.score_service_pb2_grpc import ScoreServiceAsyncStub

RUN = {
    "title": "Run",
    "submitters": "SERVICES",
    "rule": {"perUnit": {"pointsPerUnit": 2, "maxUnits": 100}},
    "limits": {"maxActions": 2, "per": "3600s"},
}
RANKS = "query ($board: BoardInput, $ids: [ID!]!) { ranks(board: $board, userIds: $ids) { entries { score } } }"
VOID = "mutation ($input: VoidActionInput!) { voidAction(input: $input) { scoreDelta } }"


@asynccontextmanager
async def shop(stack: RunningStack, *scopes: str) -> AsyncIterator[Any]:
    """Yield a call of ActionService, in JSON, by a client that is added with `topten client add`."""
    name = unique("shop-")
    options = [part for scope in scopes for part in ("--scope", scope)]
    added = await run_topten("client", "add", name, *options, data=stack.data)
    assert added.returncode == 0, added.stderr
    url = f"{stack.endpoints['identity_http']}/oauth/token"
    async with ServiceToken(url, name, added.stdout.strip()) as token, endpoints(stack).channel("quiz") as channel:
        stub = cast("ActionServiceAsyncStub", ActionServiceStub(channel))

        async def asked(method: str, **request: Any) -> dict[str, Any]:
            parsed = ParseDict(request, getattr(messages, f"{method}Request")())
            return MessageToDict(
                await call(getattr(stub, method), parsed, token=await token.get(), timeout=deadline_seconds())
            )

        yield asked


def action(player: Player, action_type_id: str, **changes: Any) -> dict[str, Any]:
    fields = {
        "player": {"userId": player.user_id},
        "actionTypeId": action_type_id,
        "actionId": str(uuid.uuid4()),
        "quantity": 3,
    }
    return fields | changes


async def test_an_action_of_a_service_moves_every_board_but_those_of_quizzes(
    stack: RunningStack, client: GraphqlClient
) -> None:
    run, player = unique("run-"), await register(client, country="NU")
    async with shop(stack, "action:define", "action:submit") as asked:
        definition = RUN | {"actionTypeId": run}
        assert await asked("PutActionType", actionType=definition) == {"version": 1, "changed": True}
        assert await asked("PutActionType", actionType=definition) == {"version": 1}
        first = action(player, run, metadata={"order": "7"})
        async with stream(stack.http, player.access_token, "country:NU") as events:
            results = (await asked("SubmitActions", actions=[first, action(player, run), action(player, run)]))[
                "results"
            ]
            assert [(each["status"], each.get("pointsAwarded"), each.get("reason")) for each in results] == [
                ("ACCEPTED", 6, None),
                ("ACCEPTED", 6, None),
                ("REFUSED", None, "LIMIT_REACHED"),
            ]
            await until(events, shows(player.username, 12))
        assert await asked("SubmitActions", actions=[first]) == {
            "results": [{"status": "DUPLICATE", "pointsAwarded": 6}]
        }
        for board in ({"kind": "WEEKLY"}, {"kind": "MONTHLY"}, {"kind": "COUNTRY", "country": "NU"}):

            async def is_on_board(board: dict[str, Any] = board) -> bool:
                variables = {"board": board, "ids": [player.user_id]}
                data = await client.execute(RANKS, variables, player.access_token)
                return [entry["score"] for entry in data["ranks"]["entries"]] == [12]

            await eventually(is_on_board, f"12 points on {board}")
        assert await asked("ArchiveActionType", actionTypeId=run) == {"version": 2, "changed": True}
        (refused,) = (await asked("SubmitActions", actions=[action(player, run)]))["results"]
        assert refused["reason"] == "ACTION_TYPE_CLOSED"
        stored = await asked("GetActionType", actionTypeId=run)
        assert [each["actionType"]["state"] for each in stored["versions"]] == ["ARCHIVED", "OPEN"]
        assert all(each["actor"].startswith("service:shop-") for each in stored["versions"])

    async with endpoints(stack).channel("score") as channel:
        score = cast("ScoreServiceAsyncStub", ScoreServiceStub(channel))
        export = await call(score.ExportPlayer, score_service_pb2.ExportPlayerRequest(), token=player.access_token)
        rows = [(row.kind, row.action_type_id, dict(row.metadata), row.delta) for row in export.changes]
        assert sorted(rows, key=str) == sorted(
            [("ACTION_COMPLETED", run, {"order": "7"}, 6), ("ACTION_COMPLETED", run, {}, 6)], key=str
        )
    data = await client.execute(
        "{ scoreHistory { edges { node { kind actionTypeId quizId } } } }", {}, player.access_token
    )
    assert [edge["node"] for edge in data["scoreHistory"]["edges"]] == [
        {"kind": "ACTION_COMPLETED", "actionTypeId": run, "quizId": None}
    ] * 2
    data = await player.client.execute("{ exportMyData { data } }", {}, player.access_token)
    records = data["exportMyData"]["data"]["submissions"]
    assert [(each["actionTypeId"], each["quantity"], each["points"], each["quizId"]) for each in records] == [
        (run, 3, 6, ""),
        (run, 3, 6, ""),
    ]
    assert all(each["submittedBy"].startswith("service:shop-") for each in records)


async def test_a_batch_that_waits_is_on_every_board_when_its_response_arrives(
    stack: RunningStack, client: GraphqlClient
) -> None:
    """For each of its players: the total after each action, and places that show all of them."""
    run, board = unique("run-"), {"kind": "COUNTRY", "country": "NR"}
    ada, ben = await register(client, country="NR"), await register(client, country="NR")
    async with shop(stack, "action:define", "action:submit") as asked:
        await asked("PutActionType", actionType=RUN | {"actionTypeId": run})
        before = action(ada, run)
        await asked("SubmitActions", actions=[before])
        boards = {"wait": "COUNTED", "boards": ["country:NR", "all"]}
        lost = action(ben, run)
        with pytest.raises(ServiceError) as caught:
            await asked("SubmitActions", actions=[lost], wait="COUNTED", boards=["all", "custom:nowhere"])
        assert (caught.value.reason, caught.value.violations[0][0]) == (Reason.BOARD_NOT_FOUND, "boards[1]")
        sent = [before, lost, action(ada, run), action(ada, run), action(ben, run, quantity=10)]
        results = (await asked("SubmitActions", actions=sent, **boards))["results"]
        shown = [(each["status"], each.get("reason"), each.get("total")) for each in results]
        assert shown == [
            ("DUPLICATE", None, 6),
            ("ACCEPTED", None, 6),
            ("ACCEPTED", None, 12),
            ("REFUSED", "LIMIT_REACHED", None),
            ("ACCEPTED", None, 26),
        ]
        standings = [{each["board"]: each["score"] for each in result.get("standings", [])} for result in results]
        of_ada, of_ben = {"country:NR": 12, "all": 12}, {"country:NR": 26, "all": 26}
        assert standings == [of_ada, of_ben, of_ada, {}, of_ben]
        ranks = [result["standings"][0]["rank"] for result in results if "standings" in result]
        assert ranks[1] < ranks[0]
        for player, score in ((ada, 12), (ben, 26)):
            data = await client.execute(RANKS, {"board": board, "ids": [player.user_id]}, player.access_token)
            assert data["ranks"]["entries"] == [{"score": score}]
        refused = await asked("SubmitActions", actions=[action(ada, run)], **boards)
        assert [each["reason"] for each in refused["results"]] == ["LIMIT_REACHED"]


async def test_a_voided_action_is_taken_off_the_boards_and_the_audit_agrees(
    stack: RunningStack, client: GraphqlClient
) -> None:
    run, player = unique("run-"), await register(client, country="TV")
    async with shop(stack, "action:define", "action:submit") as asked:
        await asked("PutActionType", actionType=RUN | {"actionTypeId": run})
        first = action(player, run, quantity=10)
        async with stream(stack.http, player.access_token, "country:TV") as events:
            await asked("SubmitActions", actions=[first, action(player, run)])
            await until(events, shows(player.username, 26))
            account = stack.endpoints["moderator"]
            moderator = await player.client.login(account["username"], account["password"])
            void = {"userId": player.user_id, "actionId": first["actionId"], "reason": "a test"}
            data = await player.client.execute(VOID, {"input": void}, moderator)
            assert data["voidAction"]["scoreDelta"] == -20
            await until(
                events, lambda data: {e["username"]: e["score"] for e in data["leaderboard"]}.get(player.username) == 6
            )
        # It stays used, and stays what it was for who sends it again.
        (again, refused) = (await asked("SubmitActions", actions=[first, action(player, run)]))["results"]
        assert (again["status"], again["pointsAwarded"], refused["reason"]) == ("DUPLICATE", 20, "LIMIT_REACHED")


async def test_callers_do_what_their_scopes_say_and_no_more_than_500_at_once(
    stack: RunningStack, player: Player
) -> None:
    run = unique("run-")
    async with shop(stack, "action:submit") as asked:
        for method, request in (
            ("PutActionType", {"actionType": RUN | {"actionTypeId": run}}),
            ("ArchiveActionType", {"actionTypeId": run}),
        ):
            with pytest.raises(ServiceError) as caught:
                await asked(method, **request)
            assert caught.value.reason is Reason.PERMISSION_DENIED
        with pytest.raises(ServiceError) as caught:
            await asked("SubmitActions", actions=[action(player, run)] * 501)
        assert caught.value.reason is Reason.INVALID_ARGUMENT
        results = (await asked("SubmitActions", actions=[action(player, run)] * 500))["results"]
        assert {each["reason"] for each in results} == {"ACTION_TYPE_NOT_FOUND"}


async def test_the_command_defines_lists_archives_and_submits(
    stack: RunningStack, player: Player, tmp_path: Path
) -> None:
    run, invalid = unique("run-"), unique("run-")
    definitions, actions = tmp_path / "types.jsonl", tmp_path / "actions.jsonl"
    contradiction = RUN | {"actionTypeId": invalid, "rule": {"reported": {"minimum": 2, "maximum": 1}}}
    lines = [json.dumps(RUN | {"actionTypeId": run}), json.dumps(contradiction), '{"rule": 7}']
    definitions.write_text("\n".join(lines))
    put = await run_topten("action-type", "put", str(definitions), data=stack.data)
    assert (put.returncode, put.stdout) == (1, f"{run}: version 1\n")
    assert "rule.reported.maximum" in put.stderr
    assert "Line 3: " in put.stderr
    first = action(player, run)
    actions.write_text("\n".join([json.dumps(first), "not an action", json.dumps(first)]))
    submitted = await run_topten("action", "submit", str(actions), data=stack.data)
    assert submitted.returncode == 1
    assert [json.loads(line)["status"] for line in submitted.stdout.splitlines()] == [
        "ACCEPTED",
        "REFUSED",
        "DUPLICATE",
    ]
    waited = await run_topten("action", "submit", str(actions), "--wait", "--board", "all", data=stack.data)
    (counted, _, _) = map(json.loads, waited.stdout.splitlines())
    assert (counted["status"], counted["total"]) == ("DUPLICATE", 6)
    assert [(each["board"], each["score"]) for each in counted["standings"]] == [("all", 6)]
    alone = await run_topten("action", "submit", str(actions), "--board", "all", data=stack.data)
    assert (alone.returncode, "needs --wait" in alone.stderr) == (2, True)
    listed = await run_topten("action-type", "list", data=stack.data)
    assert {json.loads(line)["actionTypeId"] for line in listed.stdout.splitlines()} & {run, invalid} == {run}
    for shown in (f"{run} is archived.\n", f"{run} is archived already.\n"):
        assert (await run_topten("action-type", "archive", run, data=stack.data)).stdout == shown
