"""The responses that players and a moderator got, to be compared with the ledger.

Both act like clients on a bad network: they send something until it is accepted, give some up, and repeat old ones. The
guarantee that is checked: what was accepted keeps its response and counts once; what was refused or abandoned counts once or
not at all. When MongoDB's data is replaced by older data, what was accepted in between may be gone, but never counts twice.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address
from typing import Any, NamedTuple

import aiohttp
from pymongo import AsyncMongoClient

from services.cli.system.client import GraphqlClient, GraphqlError
from tests.deadline import deadline
from tests.players import PASSWORD, Player

RIGHT = [("q1", "a"), ("q2", "a")]
QUANTITY = 7
PLAYED = ("QUIZ_COMPLETED", "ACTION_COMPLETED")
_LOST = ("UNAVAILABLE", "INTERNAL")
_NO_RESPONSE = (aiohttp.ClientError, TimeoutError)
Replaced = Sequence[tuple[float, float]]


class Response(NamedTuple):
    """What a request got, and when it was sent and answered, in monotonic time."""

    sent: float
    answered: float
    points: int
    content: dict[str, Any]

    def holds(self, replaced: Replaced) -> bool:
        """Whether it still holds after MongoDB's data was replaced: it was answered before or sent after each time."""
        return all(self.answered <= began or self.sent >= ended for began, ended in replaced)


@dataclass
class Request:
    """Something that counts once, and every response that it got."""

    kind: str
    user_id: str
    responses: list[Response] = field(default_factory=list)


class NetworkClient(GraphqlClient):
    """A client in an IPv6 network of its own, behind a proxy that writes its address in one of the possible ways."""

    def __init__(self, url: str, chance: random.Random) -> None:
        super().__init__(url)
        self._chance = chance
        self._network = (0x20010DB8 << 96) | (chance.getrandbits(32) << 64)

    async def execute(self, document: str, variables: dict[str, Any], token: str | None = None) -> Any:
        """Send it from another address of the network."""
        address = IPv6Address(self._network | self._chance.getrandbits(64))
        text = self._chance.choice(
            [address.compressed, address.exploded, address.exploded.upper(), f"[{address}]:4711"]
        )
        self._session.headers["X-Forwarded-For"] = text
        return await super().execute(document, variables, token)


class History:
    """Everything that was sent, by ID."""

    def __init__(self, quiz_id: str, action_type_id: str, over: asyncio.Event) -> None:
        self.quiz_id = quiz_id
        self.action_type_id = action_type_id
        self.requests: dict[str, Request] = {}
        self.sanctions = 0
        self.faults: list[str] = []
        self._over = over
        self._blocked: dict[str, list[str]] = {}

    def accepted(self, *kinds: str) -> list[str]:
        """The IDs of what was accepted."""
        return [id_ for id_, request in self.requests.items() if request.kind in kinds and request.responses]

    async def play(self, player: Player, chance: random.Random) -> None:
        """Play until it is over."""
        accepted: list[str] = []
        while not self._over.is_set():
            if accepted and chance.random() < 0.1:
                action_id, tries = chance.choice(accepted), 1  # as if the response had been lost
            else:
                action_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
                self.requests[action_id] = Request(chance.choice(PLAYED), player.user_id)
                tries = 1 if chance.random() < 0.1 else 1000
            if await self._submit(player, action_id, tries) and action_id not in accepted:
                accepted.append(action_id)
            await asyncio.sleep(chance.random() * 0.1)

    async def moderate(
        self, client: GraphqlClient, account: tuple[str, str], players: Sequence[str], chance: random.Random
    ) -> None:
        """Void, adjust, block and unblock until it is over; only `players` are adjusted and blocked."""
        token = ""
        while not self._over.is_set():
            await asyncio.sleep(chance.random() * 0.5)
            try:
                await self._moderate(client, token, chance, players)
            except GraphqlError as error:
                if error.reason == "UNAUTHENTICATED":
                    token = await token_of(client, account) or token
                elif error.reason not in (*_LOST, "ACTION_NOT_FOUND"):
                    self.faults.append(f"moderation was refused: {error.reason} {error}")
            except _NO_RESPONSE:
                pass

    async def _moderate(self, client: GraphqlClient, token: str, chance: random.Random, players: Sequence[str]) -> None:
        kind = chance.choices(("void", "adjust", "block", "unblock"), (3, 3, 2, 4))[0]
        actions = self.accepted(*PLAYED)
        user_id = chance.choice(players)
        if kind == "void" and actions:
            action_id = chance.choice(actions)
            user_id = self.requests[action_id].user_id
            voided = self.requests.setdefault(f"void {action_id}", Request("ACTION_VOIDED", user_id))
            await self._change(client, token, voided, "voidAction", "VoidActionInput!", {"actionId": action_id})
        elif kind == "adjust":
            action_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
            adjusted = self.requests[action_id] = Request("SCORE_ADJUSTED", user_id)
            fields = {"actionId": action_id, "delta": chance.choice([-7, -1, 1, 5])}
            await self._change(client, token, adjusted, "adjustScore", "AdjustScoreInput!", fields)
        elif kind == "block":
            self._blocked.setdefault(user_id, [])
            await self.block(client, token, user_id, chance.uniform(1, 3) if chance.random() < 0.6 else None)
        elif kind == "unblock" and self._blocked:
            user_id = chance.choice(list(self._blocked))
            sanctions = self._blocked[user_id]
            one = sanctions.pop() if sanctions and chance.random() < 0.5 else None
            await _moderation(client, token, "unblockUser", "UnblockUserInput!", userId=user_id, sanctionId=one)

    async def block(self, client: GraphqlClient, token: str, user_id: str, seconds: float | None) -> datetime:
        """Block a player for `seconds`, or longer if the request takes longer, or permanently; return the end."""
        expiry = datetime.max.replace(tzinfo=UTC) if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
        at = None if seconds is None else expiry.isoformat(timespec="milliseconds")
        try:
            result = await _moderation(client, token, "blockUser", "BlockUserInput!", userId=user_id, expiresAt=at)
        except GraphqlError as error:
            if seconds is None or error.reason != "INVALID_ARGUMENT" or expiry > datetime.now(UTC):
                raise
            return await self.block(client, token, user_id, 2 * seconds)
        self._blocked.setdefault(user_id, []).append(result["sanctionId"])
        self.sanctions += 1
        return expiry

    async def _block_in_the_end(
        self, client: GraphqlClient, token: str, player: Player, seconds: float | None
    ) -> datetime:
        """Block a player as soon as the system accepts it."""
        async with deadline("the system accepts a block"):
            while True:
                try:
                    return await self.block(client, token, player.user_id, seconds)
                except GraphqlError as error:
                    if error.reason not in _LOST:
                        raise
                except _NO_RESPONSE:
                    pass
                await asyncio.sleep(0.1)

    async def unblock_all(self, client: GraphqlClient, token: str) -> None:
        """Lift every sanction."""
        async with deadline("every sanction is lifted"):
            for user_id in self._blocked:
                while True:
                    try:
                        await _moderation(client, token, "unblockUser", "UnblockUserInput!", userId=user_id)
                        break
                    except (GraphqlError, *_NO_RESPONSE):
                        await asyncio.sleep(0.1)

    async def check_strongest_sanction(self, client: GraphqlClient, token: str, player: Player) -> None:
        """A permanent block outlives a short one beside it; both lifted, the player plays again."""
        async with deadline("the system accepts what it is sent"):
            await self._block_in_the_end(client, token, player, None)
            expiry = await self._block_in_the_end(client, token, player, 1)
            while datetime.now(UTC) < expiry + timedelta(seconds=1):
                if await self._submit(player, str(uuid.uuid4()), 1):
                    self.faults.append("a short block ended a permanent one")
                    break
                await asyncio.sleep(0.1)
            await self.unblock_all(client, token)

    async def _change(
        self, client: GraphqlClient, token: str, request: Request, name: str, type_: str, fields: dict[str, Any]
    ) -> None:
        sent = time.monotonic()
        result = await _moderation(client, token, name, type_, userId=request.user_id, **fields)
        request.responses.append(Response(sent, time.monotonic(), result["scoreDelta"], {}))

    async def _submit(self, player: Player, action_id: str, tries: int) -> bool:
        request = self.requests.setdefault(action_id, Request("QUIZ_COMPLETED", player.user_id))
        for _ in range(tries):
            sent = time.monotonic()
            try:
                if request.kind == "QUIZ_COMPLETED":
                    content = await player.submit(self.quiz_id, RIGHT, action_id)
                else:
                    content = await player.act(self.action_type_id, action_id, quantity=QUANTITY)
                content["duplicate"] = False
                request.responses.append(Response(sent, time.monotonic(), content["pointsAwarded"], content))
                return True
            except GraphqlError as error:
                if error.reason == "UNAUTHENTICATED":
                    player.access_token = (
                        await token_of(player.client, (player.username, PASSWORD)) or player.access_token
                    )
                elif error.reason == "PLAYER_BLOCKED" and player.user_id in self._blocked:
                    return False
                elif error.reason not in _LOST:
                    self.faults.append(f"action {action_id} was refused: {error.reason} {error}")
                    return False
            except _NO_RESPONSE:
                pass
            if self._over.is_set():
                return False
            await asyncio.sleep(0.05)
        return False

    async def check(self, mongo_url: str, replaced: Replaced) -> list[str]:
        """Return what is wrong with the ledger, read from the database. Call it once all events are processed.

        `replaced` has the moments between which each replacement of MongoDB's data may have lost something.
        """
        wrong = list(self.faults)
        mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url)
        async with mongo:
            users = list({request.user_id for request in self.requests.values()})
            rows = [row async for row in mongo["topten_score"]["ledger"].find({"user_id": {"$in": users}})]
            folds = {fold["user_id"]: fold async for fold in mongo["topten_score"]["players"].find()}
        counted: dict[str, list[dict[str, Any]]] = {}
        totals: Counter[str] = Counter()
        for row in rows:
            totals[row["user_id"]] += row["delta"]
            if row["kind"] in (*PLAYED, "SCORE_ADJUSTED"):
                counted.setdefault(row["action_id"], []).append(row)
            elif row["kind"] == "ACTION_VOIDED":
                counted.setdefault(f"void {row['action_id']}", []).append(row)
        for id_, request in self.requests.items():
            certain = [response for response in request.responses if response.holds(replaced)]
            wrong += _compare(f"{request.kind} {id_}", certain, counted.get(id_, []))
        wrong += [f"{id_} is counted but was never sent" for id_ in counted.keys() - self.requests.keys()]
        for user_id, total in totals.items():
            if folds.get(user_id, {}).get("total", [None])[0] != total:
                wrong.append(f"player {user_id} has {total} in the ledger and another total written")
        return wrong

    def lost(self, replaced: Replaced) -> int:
        """How many accepted requests may be gone."""
        return sum(
            bool(request.responses) and not any(response.holds(replaced) for response in request.responses)
            for request in self.requests.values()
        )


def _compare(name: str, certain: Sequence[Response], rows: Sequence[dict[str, Any]]) -> Iterable[str]:
    if len(rows) > 1:
        yield f"{name} is counted {len(rows)} times"
    if not certain:
        return
    if not rows:
        yield f"{name} was accepted and is not counted"
    elif rows[0]["delta"] != certain[0].points:
        yield f"{name} earned {certain[0].points} and counts {rows[0]['delta']}"
    for response in certain[1:]:
        if response.content != certain[0].content:
            yield f"{name} was answered {certain[0].content} and then {response.content}"


async def _moderation(client: GraphqlClient, token: str, mutation: str, type_: str, **fields: Any) -> dict[str, Any]:
    document = f"mutation ($input: {type_}) {{ {mutation}(input: $input) {{ success sanctionId scoreDelta }} }}"
    result: dict[str, Any] = (await client.execute(document, {"input": {"reason": "chance"} | fields}, token))[mutation]
    return result


async def token_of(client: GraphqlClient, account: tuple[str, str]) -> str | None:
    """Log in; None if there is no response."""
    try:
        return await client.login(*account)
    except (GraphqlError, *_NO_RESPONSE):
        await asyncio.sleep(0.1)
        return None
