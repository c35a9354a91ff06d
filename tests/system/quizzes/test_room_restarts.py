"""Each process is killed in turn while a room is played: no answer is lost or doubled, and no question loses time."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp
import pytest

from services.cli.identity.accounts import grant_role
from services.cli.system.client import GraphqlClient, GraphqlError
from tests.deadline import deadline, eventually
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import PASSWORD, endpoints, register
from tests.servers import RunningStack, assert_verified, running_stack, unique
from tests.system.quizzes.test_rooms import OPEN, Room

PROCESSES = ("edge", "quiz", "score", "leaderboard", "identity", "redis", "nats", "mongo")
POINTS = 10
T = TypeVar("T")


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Send a request until it is answered, as a client that loses its connection does."""
    async with deadline("the request is answered"):
        while True:
            try:
                return await call()
            except GraphqlError as error:
                assert error.reason == "UNAVAILABLE", (error.reason, str(error))
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.05)


async def command(room: Room, field: str) -> dict[str, Any]:
    """Carry out a command of the host once, however often it is sent, and return the room."""
    once = f', commandId: "{uuid.uuid4()}"'
    applied, after = await insist(lambda: room.command(field, once))
    assert applied
    return after


async def play_question(stack: RunningStack, room: Room, number: int, name: str) -> None:
    """Play a question to its board, while a process is killed. Every player is right but Gus."""
    asked = await command(room, "startRoom" if number == 1 else "nextStep")
    assert asked["question"] == {"id": f"q{number}"}

    async def answer(nickname: str) -> None:
        option = "b" if nickname == "Gus" else "a"
        given = await insist(lambda: room.answer(nickname, f"q{number}", option))
        assert given["answer"] == {"selectedOption": option}

    await answer("Ada")
    pid = stack.pid_of(name)
    others = [asyncio.create_task(answer(nickname)) for nickname in room.players if nickname != "Ada"]
    os.kill(pid, signal.SIGKILL)
    await asyncio.gather(*others)

    async def is_back() -> bool:
        return stack.pid_of(name) != pid

    await eventually(is_back, f"{name} is back")
    again = await insist(room.state)
    assert [again[each] for each in ("askedAt", "deadline")] == [asked[each] for each in ("askedAt", "deadline")]
    assert again["answered"] == len(room.players)
    repeated = await insist(lambda: room.answer("Ada", f"q{number}", "b"))
    assert (repeated["duplicate"], repeated["answer"]) == (True, {"selectedOption": "a"})
    await command(room, "lockQuestion")
    revealed = await command(room, "reveal")
    right = len(room.players) - 1
    assert revealed["distribution"] == [{"optionId": "a", "count": right}, {"optionId": "b", "count": 1}]
    shown = {entry["nickname"]: entry["points"] for entry in (await command(room, "nextStep"))["board"]}
    assert shown == {nickname: 0 if nickname == "Gus" else number * POINTS for nickname in room.players}


@pytest.mark.slow
async def test_killing_every_process_in_turn_costs_a_room_neither_answers_nor_time() -> None:
    """Takes half a minute: five processes and three stores each die during a question and are restarted."""
    with running_stack({"TOPTEN_SCORE_ACK_WAIT": "3s"}) as stack:
        quiz_id = unique("room-")
        definition = quiz_definition(quiz_id, questions=len(PROCESSES))
        definition.rooms_count_on_boards = True
        await import_quiz(endpoints(stack), definition)
        async with GraphqlClient(endpoints(stack).graphql) as client:
            host = await register(client)
            await grant_role(endpoints(stack), host.username, "author")
            author = await client.login(host.username, PASSWORD)
            options = {"countsOnBoards": True, "secondsPerQuestion": 600}
            opened = (await client.execute(OPEN, {"input": {"quizId": quiz_id, "options": options}}, author))[
                "openRoom"
            ]
            ada, ben = await register(client), await register(client)
            room = Room(client, opened["pin"], author, {"Ada": ada.access_token, "Ben": ben.access_token})
            for nickname, token in room.players.items():
                await room.join(nickname, token)
            room.players["Gus"] = (await room.join("Gus", None))["accessToken"]
            for number, name in enumerate(PROCESSES, start=1):
                await play_question(stack, room, number, name)
            assert (await command(room, "nextStep"))["phase"] == "PODIUM"
            assert (await command(room, "closeRoom"))["phase"] == "ENDED"

            async def counted() -> bool:
                entries = await insist(lambda: ada.top({"kind": "QUIZ", "quizId": quiz_id}))
                total = len(PROCESSES) * POINTS
                return {(each["username"], each["score"]) for each in entries} == {
                    (ada.username, total),
                    (ben.username, total),
                }

            await eventually(counted, "the answers of the accounts count once on the quiz's board")
        await assert_verified(stack)
