"""Two edges and two leaderboard instances send the same frames under the same ids."""

from __future__ import annotations

from services.cli.system.client import GraphqlClient
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import endpoints, register, shows, stream, until
from tests.replicas import second_instance
from tests.servers import RunningStack, unique


async def test_every_instance_shows_the_same_update_under_the_same_id(stack: RunningStack) -> None:
    quiz_id = unique("two-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id))
    with (
        second_instance(stack, "leaderboard") as leaderboard,
        second_instance(stack, "edge", UPSTREAM_LEADERBOARD=leaderboard["TOPTEN_LEADERBOARD_GRPC_ADDRESS"]) as edge,
    ):
        other = f"http://{edge['TOPTEN_EDGE_HTTP_ADDRESS']}"
        async with GraphqlClient(endpoints(stack).graphql) as client:
            player = await register(client)
            board = f"quiz:{quiz_id}"
            async with (
                stream(stack.http, player.access_token, board) as here,
                stream(other, player.access_token, board) as there,
            ):
                await player.submit(quiz_id, [("q1", "a"), ("q2", "a")])
                seen_here = await until(here, shows(player.username, 20))
                seen_there = await until(there, shows(player.username, 20))
        assert seen_here.id == seen_there.id
        assert seen_here.data["leaderboard"] == seen_there.data["leaderboard"]
