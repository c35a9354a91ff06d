"""A board whose period ends while faults happen: sanctions, voids and adjustments come before, at and after its end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import AsyncMongoClient
from topten.board.v1 import board_pb2, board_service_pb2
from topten.score.v1 import score_service_pb2

from services.boards.board import Board
from services.boards.encoding import points_of
from services.boards.periods.closed import BOARDS, DATABASE, ENTRIES
from services.cli.system.client import Endpoints
from services.cli.system.operator_client import board_service, score_service
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call
from services.streams import ACTION_VOIDED
from tests.deadline import deadline, eventually
from tests.servers import unique

SETTINGS = {"TOPTEN_SCORE_CLOSE_AFTER": "1s", "TOPTEN_SCORE_CLOSE_INTERVAL": "500ms"}


class EndingBoard:
    """A board of all points between now and `seconds` from now, which freezes half-way."""

    def __init__(self, endpoints: Endpoints, mongo_url: str, seconds: float) -> None:
        self._endpoints = endpoints
        self._mongo_url = mongo_url
        self._name = unique("ending-")[:32]
        self._board = Board("custom", self._name)
        self._starts_at = datetime.now(UTC).replace(microsecond=0)
        self._ends_at = self._starts_at + timedelta(seconds=round(seconds) + 1)

    async def define(self) -> None:
        """Define the board and wait until it counts."""
        period = f"range:{self._starts_at.isoformat()}/{self._ends_at.isoformat()}"
        definition = board_pb2.BoardDefinition(name=self._name, sources=["all"], period=period)
        # What is hidden in its second half is there when it is closed.
        definition.freezes_before.FromTimedelta(
            timedelta(seconds=(self._ends_at - self._starts_at).total_seconds() // 2)
        )
        async with board_service(self._endpoints) as (stub, token):
            await call(stub.PutBoard, board_service_pb2.PutBoardRequest(definition=definition), token=token)

            async def is_ready() -> bool:
                boards = (await call(stub.ListBoards, board_service_pb2.ListBoardsRequest(), token=token)).boards
                ready = [each.definition.name for each in boards if each.state == board_pb2.DefinedBoard.READY]
                return self._name in ready

            await eventually(is_ready, "the board is built")

    async def check(self, players: Collection[str], *, untouched: str = "") -> list[str]:
        """Return what is wrong with the closed board. Call it once all events are counted and nobody is blocked.

        It is closed at its end and not before, and after a reseal it has what the ledger says of these players. The one who is
        `untouched`, if any, was right at once: nobody blocked them, and no data was replaced.
        """
        wrong = []
        async with AsyncMongoClient[dict[str, Any]](self._mongo_url) as mongo:
            expected, by_then = await self._in_ledger(mongo, players)
            closed = await self._closed(mongo)
            async with deadline("the period is resealed"):
                while not await self._reseal():
                    await asyncio.sleep(0.1)
            if closed["closed_at"] < self._ends_at:
                wrong.append(f"{self._name} was closed at {closed['closed_at']}, before its end")
            points = closed["points"].get(untouched, 0)
            if untouched and points != by_then.get(untouched, 0):
                wrong.append(f"{self._name} was closed with {points} points of {untouched}, not {by_then}")
            resealed = (await self._closed(mongo))["points"]
            if resealed != expected:
                wrong.append(f"{self._name} is resealed with {resealed}, the ledger says {expected}")
        async with board_service(self._endpoints) as (stub, token):
            await call(stub.ArchiveBoard, board_service_pb2.ArchiveBoardRequest(name=self._name), token=token)
        return wrong

    async def _closed(self, mongo: AsyncMongoClient[dict[str, Any]]) -> dict[str, Any]:
        """Wait until the board is closed and return its copy; one without points if nobody is on it."""
        async with deadline("the period is closed"):
            while not await self._reseal("nobody"):
                await asyncio.sleep(0.1)
        return await self._archived(mongo) or {"points": {}, "closed_at": self._ends_at}

    async def _reseal(self, user_id: str = "") -> bool:
        """Reseal the board for a player or all; False if it is not closed yet, or a service is away."""
        request = score_service_pb2.ResealPeriodRequest(board=self._board.name, user_id=user_id, reason="known later")
        async with score_service(self._endpoints) as (stub, token):
            try:
                await call(stub.ResealPeriod, request, token=token)
            except ServiceError as error:
                if error.reason not in (Reason.INVALID_ARGUMENT, Reason.UNAVAILABLE):
                    raise
                return False
        return True

    async def _in_ledger(
        self, mongo: AsyncMongoClient[dict[str, Any]], players: Collection[str]
    ) -> tuple[dict[str, int], dict[str, int]]:
        """Return the points of the players in the period, now and without the voids that came after its closing."""
        now: Counter[str] = Counter()
        by_then: Counter[str] = Counter()
        query = {"user_id": {"$in": list(players)}, "at": {"$gte": self._starts_at, "$lt": self._ends_at}}
        async for row in mongo["topten_score"]["ledger"].find(query):
            now[row["user_id"]] += row["delta"]
            # It counts at the time of its action.
            is_late_void = row["kind"] == ACTION_VOIDED and not any(row.get("counters", {}).values())
            by_then[row["user_id"]] += 0 if is_late_void else row["delta"]
        return _positive(now), _positive(by_then)

    async def _archived(self, mongo: AsyncMongoClient[dict[str, Any]]) -> dict[str, Any] | None:
        database = mongo[f"topten_{DATABASE}"]
        closed = await database[BOARDS].find_one({"_id": self._board.name})
        if closed is None:
            return None
        entries = database[ENTRIES].find({"made": closed["made"]})
        points = {entry["user_id"]: points_of(entry["value"]) async for entry in entries}
        return {"points": points, "closed_at": closed["closed_at"].replace(tzinfo=UTC)}


def _positive(totals: Counter[str]) -> dict[str, int]:
    return {user_id: total for user_id, total in totals.items() if total > 0}
