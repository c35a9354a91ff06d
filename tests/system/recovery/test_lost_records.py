"""A restore loses the record of what is still on the stream: it counts once, whatever clients send again and when."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import nats
from topten.quiz.v1 import quiz_pb2

from services.cli.system.client import GraphqlClient
from services.streams import QUIZ_STREAM
from tests.deadline import eventually
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import Player, endpoints, register
from tests.servers import RunningStack, assert_verified, running_stack, topten, unique

RIGHT, WRONG = [("q1", "a"), ("q2", "a")], [("q1", "a"), ("q2", "b")]
POINTS, HALF = 20, 10
VOID = "mutation ($input: VoidActionInput!) { voidAction(input: $input) { success } }"
ADJUST = "mutation ($input: AdjustScoreInput!) { adjustScore(input: $input) { success } }"
BLOCK = "mutation ($input: BlockUserInput!) { blockUser(input: $input) { success } }"
COUNTRY = "mutation ($input: UpdateProfileInput!) { updateProfile(input: $input) { country } }"
DELETE = "mutation ($password: String!) { deleteMyAccount(password: $password) }"
BEFORE, AFTER = "before the event counts", "after the event counted"
Act = Callable[["Scene"], Awaitable[Any]]


class Scene:
    """One player, and the ids of what happens to them."""

    def __init__(self, player: Player, moderator: str, best: str, total: str) -> None:
        self.player = player
        self.best = best
        self.total = total
        self._moderator = moderator
        self._ids: dict[str, str] = {}

    def id(self, name: str) -> str:
        return self._ids.setdefault(name, str(uuid.uuid4()))

    async def submit(self, quiz_id: str, name: str, answers: list[tuple[str, str]] = RIGHT) -> dict[str, Any]:
        return await self.player.submit(quiz_id, answers, self.id(name))

    async def moderate(self, document: str, **fields: Any) -> None:
        about = {"userId": self.player.user_id, "reason": "a test", **fields}
        await self.player.client.execute(document, {"input": about}, self._moderator)


async def nothing(scene: Scene) -> None:
    pass


async def first(scene: Scene) -> dict[str, Any]:
    return await scene.submit(scene.total, "first")


async def half(scene: Scene) -> dict[str, Any]:
    return await scene.submit(scene.best, "half", WRONG)


async def best(scene: Scene) -> dict[str, Any]:
    return await scene.submit(scene.best, "best")


async def better(scene: Scene) -> dict[str, Any]:
    return await scene.submit(scene.best, "better")


async def adjust(scene: Scene) -> None:
    await scene.moderate(ADJUST, delta=7, actionId=scene.id("adjustment"))


async def void(scene: Scene) -> None:
    await scene.moderate(VOID, actionId=scene.id("first"))


async def block(scene: Scene) -> None:
    await scene.moderate(BLOCK)


async def move(scene: Scene) -> None:
    await scene.player.client.execute(COUNTRY, {"input": {"country": "DE"}}, scene.player.access_token)


async def erase(scene: Scene) -> None:
    variables = {"password": "correct horse battery"}
    await scene.player.client.execute(DELETE, variables, scene.player.access_token)


class Case(NamedTuple):
    """`kept` is in the backup, the records of `lost` are not, and `again` is sent after the restore."""

    kept: Act
    lost: tuple[Act, ...]
    again: Act
    when: str
    points: int | None


# None is a player who is on no board.
CASES = (
    Case(nothing, (first,), nothing, BEFORE, POINTS),
    Case(nothing, (first,), first, BEFORE, POINTS),
    Case(nothing, (first,), first, AFTER, POINTS),
    # Another attempt adds only what it is better.
    Case(half, (best,), better, BEFORE, POINTS),
    Case(half, (best,), better, AFTER, POINTS),
    Case(nothing, (half, best), best, BEFORE, POINTS),
    Case(nothing, (half, best), half, AFTER, POINTS),
    Case(first, (adjust,), adjust, BEFORE, POINTS + 7),
    Case(first, (adjust,), adjust, AFTER, POINTS + 7),
    Case(first, (adjust,), nothing, BEFORE, POINTS + 7),
    Case(first, (void,), void, BEFORE, None),
    Case(first, (void,), void, AFTER, None),
    Case(first, (void,), nothing, BEFORE, None),
    Case(nothing, (first, void), nothing, BEFORE, None),
    # The account is what the backup says, and changes afterwards as any other.
    Case(first, (block,), nothing, BEFORE, POINTS),
    Case(first, (block,), block, AFTER, None),
    Case(first, (move,), move, AFTER, POINTS),
    # An erasure is carried out again.
    Case(first, (erase,), nothing, BEFORE, None),
)


async def is_empty(listing: Awaitable[list[Any]]) -> bool:
    return not await listing


async def run(stack: RunningStack, *arguments: str) -> None:
    command = topten(*arguments, "--data", str(stack.data))
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done


async def messages(stack: RunningStack) -> int:
    client = await nats.connect(stack.endpoints["stores"]["nats"])
    try:
        return (await client.jetstream().stream_info(QUIZ_STREAM)).state.messages
    finally:
        await client.close()


async def test_what_a_restore_left_on_the_stream_counts_once(tmp_path: Path) -> None:
    """The worker does not know of the restore when it goes on."""
    environ = {"TOPTEN_LEADERBOARD_TICK": "100ms", "TOPTEN_SCORE_RECONCILE_INTERVAL": "2s"}
    with running_stack(environ) as stack:
        async with GraphqlClient(endpoints(stack).graphql) as client:
            names = unique("best-"), unique("total-")
            for name, counting in zip(names, (quiz_pb2.COUNTING_BEST, quiz_pb2.COUNTING_SUM), strict=True):
                await import_quiz(endpoints(stack), quiz_definition(name, counting=counting))
            account = stack.endpoints["moderator"]
            moderator = await client.login(account["username"], account["password"])
            scenes = [Scene(await register(client), moderator, *names) for _ in CASES]
            watcher = await register(client)

            async def shows(points: Callable[[Case], int | None]) -> None:
                async def differences() -> list[tuple[int, int | None]]:
                    entries = {entry["userId"]: entry["score"] for entry in await watcher.top(limit=100)}
                    shown = [entries.get(scene.player.user_id) for scene in scenes]
                    return [(at, shown[at]) for at, case in enumerate(CASES) if shown[at] != points(case)]

                try:
                    await eventually(lambda: is_empty(differences()), "every player has the points of their case")
                except AssertionError:
                    raise AssertionError(f"cases with other points: {await differences()}") from None

            for scene, case in zip(scenes, CASES, strict=True):
                await case.kept(scene)
            kept: dict[Act, int | None] = {nothing: None, half: HALF, first: POINTS}
            await shows(lambda case: kept[case.kept])
            await run(stack, "backup", str(tmp_path / "backup"))

            score = stack.pid_of("score")
            os.kill(score, signal.SIGSTOP)
            results = {}
            for number, (scene, case) in enumerate(zip(scenes, CASES, strict=True)):
                for act in case.lost:
                    results[number, act] = await act(scene)
            lost = sum(len(case.lost) for case in CASES)

            async def is_published() -> bool:
                return await messages(stack) == lost

            await eventually(is_published, f"{lost} events are on the stream")
            await run(stack, "restore", str(tmp_path / "backup"), "--yes")
            for when in (BEFORE, AFTER):
                for number, (scene, case) in enumerate(zip(scenes, CASES, strict=True)):
                    if case.when == when and case.again is not nothing:
                        result, before = await case.again(scene), results.get((number, case.again))
                        if before is not None:
                            assert result["pointsAwarded"] == before["pointsAwarded"], case
                            assert result["duplicate"] is (when == AFTER), case
                if when == BEFORE:
                    os.kill(score, signal.SIGCONT)

                    async def is_drained() -> bool:
                        return await messages(stack) == 0

                    await eventually(is_drained, "the stream is drained")
            await shows(lambda case: case.points)
        await assert_verified(stack)
