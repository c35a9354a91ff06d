"""What players were told, to be held against what was counted.

A player plays as a client does whose network is bad: he sends an action until it is answered, gives some up, and sends old
ones again. Owns the promise that is checked: what was answered stays answered, and counts once; what was refused or given
up counts once or not at all.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from typing import Any

import aiohttp
from pymongo import AsyncMongoClient

from services.local.client import GraphqlClient, GraphqlError
from tests.players import PASSWORD, Player

RIGHT = [("q1", "a"), ("q2", "a")]
_LOST = ("UNAVAILABLE", "INTERNAL")


class History:
    """The actions of all players, by id."""

    def __init__(self, quiz_id: str) -> None:
        self.quiz_id = quiz_id
        self.answered: dict[str, dict[str, Any]] = {}
        self.player_of: dict[str, str] = {}
        self.given_up: set[str] = set()
        self.voided: set[str] = set()
        self.faults: list[str] = []

    async def play(self, player: Player, chance: random.Random, over: asyncio.Event) -> None:
        """Plays until it is over."""
        mine: list[str] = []
        while not over.is_set():
            if mine and chance.random() < 0.1:
                action_id = chance.choice(mine)  # as if the answer had been lost
                tries = 1
            else:
                action_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
                self.player_of[action_id] = player.user_id
                tries = 1 if chance.random() < 0.1 else 1000
            answer = await self._send(player, action_id, tries, over)
            if answer is None:
                self.given_up.add(action_id)
            elif action_id not in self.answered:
                self.answered[action_id] = answer
                mine.append(action_id)
            elif {**answer, "duplicate": False} != {**self.answered[action_id], "duplicate": False}:
                self.faults.append(f"action {action_id} was answered {self.answered[action_id]} and then {answer}")
            await asyncio.sleep(chance.random() * 0.1)

    async def void(self, client: GraphqlClient, token: str, action_id: str) -> None:
        """A moderator takes an answered action back; if that is not answered, it is simply not known."""
        document = "mutation ($input: VoidActionInput!) { voidAction(input: $input) { success } }"
        fields = {"userId": self.player_of[action_id], "actionId": action_id, "reason": "chance"}
        try:
            await client.execute(document, {"input": fields}, token)
        except (GraphqlError, aiohttp.ClientError, TimeoutError):
            return
        self.voided.add(action_id)

    async def _send(self, player: Player, action_id: str, tries: int, over: asyncio.Event) -> dict[str, Any] | None:
        for _ in range(tries):
            try:
                return await player.submit(self.quiz_id, RIGHT, action_id)
            except GraphqlError as error:
                if error.reason == "UNAUTHENTICATED":
                    await _sign_in(player)
                elif error.reason not in _LOST:
                    self.faults.append(f"action {action_id} was refused: {error.reason} {error}")
                    return None
            except (aiohttp.ClientError, TimeoutError):
                pass
            if over.is_set():
                return None
            await asyncio.sleep(0.05)
        return None

    async def check(self, mongo_url: str) -> list[str]:
        """What is wrong with the ledger, read straight from the database. Call it when everything is through."""
        wrong = list(self.faults)
        mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url)
        async with mongo:
            counted: dict[str, list[dict[str, Any]]] = {}
            totals: dict[str, int] = {}
            async for row in mongo["topten_score"]["ledger"].find(
                {"user_id": {"$in": list(set(self.player_of.values()))}}
            ):
                counted.setdefault((row["kind"], row["action_id"])[1], [])
                if row["kind"] == "QUIZ_COMPLETED":
                    counted[row["action_id"]].append(row)
                totals[row["user_id"]] = totals.get(row["user_id"], 0) + row["delta"]
            folds = {fold["user_id"]: fold async for fold in mongo["topten_score"]["players"].find()}
        for action_id, answer in self.answered.items():
            rows = counted.get(action_id, [])
            if len(rows) != 1:
                wrong.append(f"action {action_id} was accepted and is counted {len(rows)} times")
            elif rows[0]["delta"] != answer["pointsAwarded"]:
                wrong.append(f"action {action_id} earned {answer['pointsAwarded']} and counts {rows[0]['delta']}")
        for action_id, rows in counted.items():
            if len(rows) > 1:
                wrong.append(f"action {action_id} is counted {len(rows)} times")
            if action_id not in self.player_of:
                wrong.append(f"action {action_id} is counted and nobody sent it")
        for user_id, total in totals.items():
            if folds.get(user_id, {}).get("total", [None])[0] != total:
                wrong.append(f"player {user_id} has {total} in the ledger and another total written")
        return wrong


async def _sign_in(player: Player) -> None:
    try:
        player.access_token = await player.client.login(player.username, PASSWORD)
    except (GraphqlError, aiohttp.ClientError, TimeoutError):
        await asyncio.sleep(0.1)
