"""Metadata on boards over real processes: the same on every way to read a board, until it is voided or its player erased."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from topten.leaderboard.v1.leaderboard_pb2 import Entry
from topten.leaderboard.v1.leaderboard_service_pb2 import (
    GetAroundRequest,
    GetLeaderboardRequest,
    GetRanksRequest,
    ListEntriesRequest,
    WatchLeaderboardRequest,
)
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub

from services.cli.system.client import GraphqlClient
from services.runtime.grpc.client import call, open_stream
from tests.deadline import deadline, eventually
from tests.players import PASSWORD, Player, endpoints, register, stream, until
from tests.servers import RunningStack, run_topten, unique
from tests.system.actions.test_player_actions import admin
from tests.system.actions.test_reported_actions import VOID, action, shop
from tests.system.boards.test_boards_as_data import put, until_ready

if TYPE_CHECKING:
    from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceAsyncStub

__all__ = ["admin"]
READ = """query ($board: BoardInput!, $user: ID!) {
  getLeaderboard(board: $board) { userId metadata }
  leaderboard(board: $board, first: 10) { me { userId metadata } edges { node { userId metadata } } }
  aroundPlayer(board: $board, userId: $user) { entries { userId metadata } }
  ranks(board: $board, userIds: [$user]) { entries { userId metadata } }
}"""
DELETE = "mutation ($password: String!) { deleteMyAccount(password: $password) }"
TYPE = {
    "title": "Lap",
    "submitters": "SERVICES",
    "showsMetadata": True,
    "rule": {"reported": {"minimum": 0, "maximum": 99}},
}
Metadata = dict[str, dict[str, str] | None]


def of_edge(entries: list[dict[str, Any]]) -> Metadata:
    return {each["userId"]: each.get("metadata") for each in entries}


def of_grpc(entries: Any) -> Metadata:
    found: list[Entry] = list(entries)
    return {each.user_id: dict(each.metadata) or None for each in found}


async def over_graphql(player: Player, name: str) -> list[Metadata]:
    """Return what every query of the edge shows of the first ten; of the player's own entry only if it is another."""
    board = {"kind": "CUSTOM", "name": name}
    data = await player.client.execute(READ, {"board": board, "user": player.user_id}, player.access_token)
    top, page = of_edge(data["getLeaderboard"]), data["leaderboard"]
    own = [of_edge(data["ranks"]["entries"]), of_edge(list(filter(None, [page["me"]])))]
    return [
        top,
        of_edge([edge["node"] for edge in page["edges"]]),
        of_edge(data["aroundPlayer"]["entries"]),
        *(each for each in own if each != {player.user_id: top.get(player.user_id)}),
    ]


async def over_grpc(stack: RunningStack, player: Player, board: str) -> list[Metadata]:
    """Return what every query of the service, and a new watch, show of the first ten."""
    async with endpoints(stack).channel("leaderboard") as channel:
        stub, token = cast("LeaderboardServiceAsyncStub", LeaderboardServiceStub(channel)), player.access_token
        response = await call(stub.GetLeaderboard, GetLeaderboardRequest(board=board), token=token)
        found = [of_grpc(response.frame.entries)]
        listed = await call(stub.ListEntries, ListEntriesRequest(board=board, user_id=player.user_id), token=token)
        found.append(of_grpc(each.entry for each in listed.entries))
        ranks = await call(stub.GetRanks, GetRanksRequest(board=board, user_ids=list(found[0])), token=token)
        found.append(of_grpc(ranks.entries))
        around = await call(stub.GetAround, GetAroundRequest(board=board, user_id=player.user_id), token=token)
        found.append(of_grpc(around.entries))
        watch = WatchLeaderboardRequest(board=board)
        async with open_stream(stub.WatchLeaderboard, watch, token=token) as frames, deadline("the first frame"):
            async for frame in frames:
                found.append(of_grpc(frame.frame.entries))
                break
    return found


async def test_every_way_to_read_a_board_shows_the_same_metadata(
    stack: RunningStack, client: GraphqlClient, admin: str
) -> None:
    lap, name = unique("lap-"), unique("laps-")[:32]
    ada, ben = await register(client), await register(client)
    board = f"custom:{name}"
    async with shop(stack, "action:define", "action:submit") as asked:
        await asked("PutActionType", actionType={"actionTypeId": lap, **TYPE})
        await put(client, admin, name=name, sources=[f"action:{lap}"], aggregate="BEST")
        await until_ready(client, admin, name)

        async def drive(player: Player, value: int, **metadata: str) -> str:
            stated = action(player, lap, value=value, metadata=metadata)
            del stated["quantity"]
            (result,) = (await asked("SubmitActions", actions=[stated]))["results"]
            assert result["status"] == "ACCEPTED", result
            return str(stated["actionId"])

        async def is_shown(wanted: Metadata) -> bool:
            found = [*await over_graphql(ada, name), *await over_grpc(stack, ada, board)]
            return all(each == wanted for each in found)

        async def assert_shown(wanted: Metadata) -> None:
            await eventually(lambda: is_shown(wanted), f"metadata {wanted}")

        async with stream(stack.http, ben.access_token, board) as events:

            async def assert_streamed(wanted: Metadata) -> None:
                await until(events, lambda data: of_edge(data["leaderboard"]) == wanted)
                await assert_shown(wanted)

            markup = {"car": "<b>red</b>", "Ж": '😀\\"'}
            await drive(ada, 20, **markup)
            await drive(ben, 10)
            await assert_streamed({ada.user_id: markup, ben.user_id: None})
            best = await drive(ada, 30, car="blue")
            await drive(ada, 25, car="no better")
            await assert_streamed({ada.user_id: {"car": "blue"}, ben.user_id: None})
            moderator = stack.endpoints["moderator"]
            token = await client.login(moderator["username"], moderator["password"])
            void = {"input": {"userId": ada.user_id, "actionId": best, "reason": "a shortcut"}}
            await client.execute(VOID, void, token)
            await assert_streamed({ada.user_id: {"car": "no better"}, ben.user_id: None})
            longest = {"note": "x" * (1024 - len('{"note":""}'))}
            await drive(ben, 40, **longest)
            await assert_streamed({ben.user_id: longest, ada.user_id: {"car": "no better"}})
        assert (await run_topten("rebuild", data=stack.data)).returncode == 0
        await assert_shown({ben.user_id: longest, ada.user_id: {"car": "no better"}})
        shown = await run_topten("top", board, data=stack.data)
        assert shown.returncode == 0, shown.stderr
        # A type that shows no metadata any more leaves what it showed.
        await asked("PutActionType", actionType={"actionTypeId": lap, **TYPE, "showsMetadata": False})
        await drive(ada, 50, car="hidden")
        await assert_shown({ada.user_id: None, ben.user_id: longest})
        assert (await client.execute(DELETE, {"password": PASSWORD}, ben.access_token))["deleteMyAccount"] is True
        await assert_shown({ada.user_id: None})
        too_long = action(ada, lap, value=1, metadata={"note": longest["note"] + "x"})
        del too_long["quantity"]
        (refused,) = (await asked("SubmitActions", actions=[too_long]))["results"]
        assert (refused["reason"], refused["field"]) == ("INVALID_ARGUMENT", "metadata"), json.dumps(refused)
