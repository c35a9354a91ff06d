"""A whole system under a random sequence of faults, which the seed determines, and every check after it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from typing import Any

from topten.action.v1.action_pb2 import ActionType
from topten.quiz.v1 import quiz_pb2

from services.cli.system.client import GraphqlClient
from tests.deadline import deadline
from tests.factories import quiz_definition
from tests.faults import ending_board
from tests.faults.history import PLAYED, History, NetworkClient, token_of
from tests.faults.injection import Injection
from tests.faults.plan import plan
from tests.imports import import_quiz, put_action_type
from tests.players import PASSWORD, Player, endpoints, register
from tests.screens import Screen
from tests.servers import HOST, RunningStack, run_topten, unique

WORKERS = ("--workers", "2")
SETTINGS = {
    "TOPTEN_LEADERBOARD_TICK": "100ms",
    "TOPTEN_SCORE_ACK_WAIT": "3s",
    "TOPTEN_QUIZ_OUTBOX_LEASE": "1s",
    "TOPTEN_MONGO_TIMEOUT": "3s",
    "TOPTEN_EDGE_TRUSTED_PROXIES": HOST,
    **ending_board.SETTINGS,
}
PLAYERS = 6


class RandomRun:
    """One run on its own stack with two edges; `say` is called with each fault."""

    def __init__(self, stack: RunningStack, seed: int, say: Callable[[str], None]) -> None:
        self._stack = stack
        self._seed = seed
        self._say = say
        self._over = asyncio.Event()
        self._injection = Injection(stack, say)

    async def run(self, seconds: float, *, kinds: Collection[str] = (), longest: float = 10.0) -> list[str]:
        """Cause faults of these kinds for `seconds` and return everything that is wrong afterwards."""
        quiz_id, walk = unique("faults-"), unique("walk-")
        await put_action_type(endpoints(self._stack), walk, submitters=ActionType.PLAYERS)
        await import_quiz(endpoints(self._stack), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM))
        history, chance = History(quiz_id, walk, self._over), random.Random(self._seed + 1)
        mongo_url = self._stack.endpoints["stores"]["mongo"]
        ending = ending_board.EndingBoard(endpoints(self._stack), mongo_url, seconds / 2)
        await ending.define()
        url, account = endpoints(self._stack).graphql, self._stack.endpoints["moderator"]
        moderator_account = account["username"], account["password"]
        async with AsyncExitStack() as clients:
            networks = [NetworkClient(url, random.Random(chance.random())) for _ in range(PLAYERS)]
            players = [await register(await clients.enter_async_context(network)) for network in networks]
            moderator = await clients.enter_async_context(GraphqlClient(url))
            boards = {"all": {"kind": "ALL"}, f"quiz:{quiz_id}": {"kind": "QUIZ", "quizId": quiz_id}}
            screens = {board: self._screens(players[0], board) for board in boards}
            watching = [asyncio.create_task(screen.watch()) for each in screens.values() for screen in each]
            tasks = [asyncio.create_task(history.play(player, random.Random(chance.random()))) for player in players]
            moderating = history.moderate(
                moderator, moderator_account, [player.user_id for player in players[1:]], random.Random(chance.random())
            )
            tasks.append(asyncio.create_task(moderating))
            await self._cause_faults(seconds, kinds, longest)
            self._over.set()
            async with deadline("every player's last action has a result"):
                await asyncio.gather(*tasks)
            token = await _logged_in(moderator, moderator_account)
            await history.unblock_all(moderator, token)
            await history.check_strongest_sanction(moderator, token, players[-1])
            wrong = await self._verified()
            # Nobody blocks or adjusts the first player.
            untouched = "" if self._injection.replaced else players[0].user_id
            wrong += await ending.check([player.user_id for player in players], untouched=untouched)
            players[0].access_token = await _logged_in(players[0].client, (players[0].username, PASSWORD))
            for board, each in screens.items():
                history.faults += await _shown(each, await players[0].top(boards[board]))
            for task in watching:
                task.cancel()
        self._summarize(history, [screen for each in screens.values() for screen in each])
        return [*wrong, *await history.check(mongo_url, self._injection.replaced)]

    async def _cause_faults(self, seconds: float, kinds: Collection[str], longest: float) -> None:
        ends = time.monotonic() + seconds
        for fault in plan(self._seed, longest, kinds):
            if time.monotonic() >= ends:
                break
            self._say(str(fault))
            await self._injection.cause(fault)
            await asyncio.sleep(fault.pause)

    def _summarize(self, history: History, screens: Sequence[Screen]) -> None:
        accepted = {kind: len(history.accepted(kind)) for kind in (*PLAYED, "ACTION_VOIDED", "SCORE_ADJUSTED")}
        frames = sum(screen.frames for screen in screens)
        self._say(
            f"{accepted['QUIZ_COMPLETED']} quizzes, {accepted['ACTION_COMPLETED']} actions of a type, "
            f"{accepted['ACTION_VOIDED']} voids, {accepted['SCORE_ADJUSTED']} adjustments and {history.sanctions} sanctions "
            f"accepted, {history.lost(self._injection.replaced)} may be lost; "
            f"{frames} frames, {sum(screen.dropped for screen in screens)} of them old"
        )
        if not all(accepted[kind] for kind in PLAYED) or not frames:
            history.faults.append("nothing happened")

    def _screens(self, player: Player, board: str) -> list[Screen]:
        """One screen that stays connected, and one that reconnects to any edge after every third frame."""

        async def sign_in() -> str:
            return await player.client.login(player.username, PASSWORD)

        return [Screen(self._stack.http, sign_in, board, leaves_after=after) for after in (None, 3)]

    async def _verified(self) -> list[str]:
        """The findings of `topten verify` once it can read everything."""
        async with deadline("`topten verify` reads everything"):
            while True:
                done = await run_topten("verify", "--patience", "15", data=self._stack.data)
                if done.returncode in (0, 1):
                    return done.stdout.splitlines() if done.returncode else []
                self._say(f"not verified yet: {done.stderr.strip()[-200:]}")


async def _logged_in(client: GraphqlClient, account: tuple[str, str]) -> str:
    """Log in as soon as the system has recovered."""
    async with deadline("an account can log in"):
        while (token := await token_of(client, account)) is None:
            pass
    return token


async def _shown(screens: Sequence[Screen], expected: list[dict[str, Any]]) -> list[str]:
    """Return what is wrong with the frames of these screens, which should now show `expected`."""
    wrong = [fault for screen in screens for fault in screen.faults]
    for screen in screens:
        try:
            await screen.until(lambda data: bool(data["leaderboard"] == expected))
        except AssertionError:
            wrong.append("a screen does not show its board")
    return wrong
