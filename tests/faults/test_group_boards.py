"""The board of a group is right and its frames never go back, whichever process dies while players join, leave and act."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any

import aiohttp
import pytest

from services.cli.identity.accounts import grant_role
from services.cli.system.client import GraphqlClient, GraphqlError
from services.runtime.process.lifecycle import cancel
from tests.deadline import eventually
from tests.players import PASSWORD, Player, endpoints, register, stream
from tests.servers import running_stack
from tests.system.accounts.test_groups import JOIN, LEAVE, ask
from tests.system.actions.test_player_actions import define, submit
from tests.system.boards.test_boards_as_data import put, until_ready
from tests.system.views.test_group_boards import founded

NAME = "friends"
SETTINGS = {"TOPTEN_LEADERBOARD_TICK": "100ms"}


async def done(work: Callable[[], Awaitable[Any]]) -> None:
    """Do what is idempotent until it has a response."""

    async def is_done() -> bool:
        try:
            await work()
        except (GraphqlError, aiohttp.ClientError) as error:
            assert not isinstance(error, GraphqlError) or error.reason in ("UNAVAILABLE", "TIMEOUT", "INTERNAL"), error
            return False
        return True

    await eventually(is_done, "a response")


def ended(stream: asyncio.Task[None]) -> str:
    """How a stream ended; empty while it lasts."""
    return repr(stream.exception() or "the server ended it") if stream.done() else ""


class Screen:
    """One stream of the board: the position of each of its frames, and the scores by user id of the last."""

    def __init__(self) -> None:
        self.positions = list[tuple[int, int]]()
        self.scores = dict[str, int]()

    async def watch(self, url: str, player: Player) -> None:
        async with stream(url, player.access_token, f"custom:{NAME}") as events:
            async for event in events:
                if event.name == "update":
                    generation, version = event.id.split("-")
                    self.positions.append((int(generation), int(version)))
                    self.scores = {each["userId"]: each["score"] for each in event.data["leaderboard"]}


@pytest.mark.slow
async def test_board_of_a_group_follows_it_whatever_dies() -> None:
    random, points = Random(7), dict[str, int]()
    with running_stack(SETTINGS) as stack:
        async with GraphqlClient(endpoints(stack).graphql) as client:
            operator = await register(client)
            await grant_role(endpoints(stack), operator.username, "admin")
            admin = await client.login(operator.username, PASSWORD)
            run = await define(client, admin, "perUnit")
            owner, *others = players = [await register(client) for _ in range(5)]
            points = {each.user_id: 0 for each in players}
            group_id, code = await founded(owner)
            await put(client, admin, name=NAME, sources=[f"action:{run}"], segment=f"group:{group_id}")
            await until_ready(client, admin, NAME)
            members, screen, seen = {owner.user_id}, Screen(), dict[str, Any]()
            watching = asyncio.create_task(screen.watch(stack.http, owner))

            async def act(player: Player, action_id: str, quantity: int) -> None:
                await done(lambda: submit(player, run, actionId=action_id, quantity=quantity))
                points[player.user_id] += 2 * quantity

            async def is_right() -> bool:
                expected = {each: points[each] for each in members if points[each]}
                try:
                    entries = await owner.top({"kind": "CUSTOM", "name": NAME})
                except (GraphqlError, aiohttp.ClientError) as error:
                    seen.update(read=repr(error))
                    return False
                scores = {each["userId"]: each["score"] for each in entries}
                seen.update(read=scores, shown=screen.scores, expected=expected, stream=ended(watching))
                return scores == expected == screen.scores

            async def require_right(step: int) -> None:
                try:
                    await eventually(is_right, f"the members of step {step}")
                except AssertionError as error:
                    error.add_note(f"seen last: {seen}")
                    raise

            for step in range(40):
                if step % 4 == 0:
                    name = random.choice(["identity", "leaderboard", "score"])
                    with suppress(ProcessLookupError):  # it is being started again
                        os.kill(stack.pid_of(name), signal.SIGKILL)
                player = random.choice(others)
                match random.choice(["act", "join", "leave"]):
                    case "act":
                        await act(player, str(uuid.uuid4()), random.randint(1, 9))
                    case "join":
                        await done(lambda each=player: ask(each, JOIN, code=code))  # type: ignore[misc]  # untyped default
                        members.add(player.user_id)
                    case "leave":
                        await done(lambda each=player: ask(each, LEAVE, id=group_id))  # type: ignore[misc]  # untyped default
                        members.discard(player.user_id)
                if step % 10 == 9:
                    await require_right(step)
            assert not watching.done(), "the stream lasts"
            await cancel(watching)
            assert screen.positions == sorted(screen.positions)
