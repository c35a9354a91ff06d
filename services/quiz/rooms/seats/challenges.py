"""Challenges of rooms: issued, and their solutions spent.

A solution is spent by one player: the collection `room_solutions` has each until its challenge expires, and from then on it is
refused as expired. The player who spent it may send it again, because a join is safe to repeat; it gives no second seat.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from pymongo.asynchronous.database import AsyncDatabase

from services.quiz.rooms.documents import Document
from services.quiz.rooms.seats.challenge import Challenge, Solution, SolutionError, new_challenge, verified
from services.quiz.rooms.seats.inserts import insert_each
from services.runtime.errors import ServiceError, invalid
from services.runtime.stores.mongo import unavailable_on_failure

if TYPE_CHECKING:
    from services.quiz.rooms.reading import RoomReader
    from services.quiz.rooms.room import Room
    from services.quiz.rooms.room_store import RoomStore


class SpentSolution(NamedTuple):
    """A valid solution and a digest of the player who spends it, which names nobody without the key of the room."""

    solution: Solution
    player: str


class RoomChallenges:
    """Issues challenges and spends their solutions. `hashes` is the cost of a challenge; see `challenge.py`."""

    def __init__(
        self,
        database: AsyncDatabase[Document],
        rooms: RoomStore,
        reader: RoomReader,
        *,
        hashes: int,
        now: Callable[[], datetime],
    ) -> None:
        self._spent = database["room_solutions"]
        self._rooms = rooms
        self._reader = reader
        self._hashes = hashes
        self._now = now

    async def prepare(self) -> None:
        """Create the index. Idempotent."""
        async with unavailable_on_failure():
            await self._spent.create_index("expires_at", expireAfterSeconds=0)

    async def issue(self, pin: str) -> Challenge | None:
        """Return a new challenge of a room; None if it has none. Raises ROOM_NOT_FOUND, UNAVAILABLE."""
        room = (await self._reader.current(await self._rooms.room_id(pin))).room
        return new_challenge(room.challenge_key, self._hashes, self._now()) if room.options.proof_of_work else None

    def verify(self, room: Room, user_id: str, solution: str) -> SpentSolution | None:
        """Return what a player spends for a new seat; None in a room without challenges. Raises INVALID_ARGUMENT."""
        if not room.options.proof_of_work:
            return None
        try:
            found = verified(room.challenge_key, solution, self._now())
        except SolutionError as error:
            raise invalid("solution", str(error)) from None
        player = hmac.digest(room.challenge_key, f"{found.challenge} {user_id}".encode(), hashlib.sha256)
        return SpentSolution(found, player.hex())

    async def spend(self, solutions: Mapping[int, SpentSolution]) -> dict[int, ServiceError]:
        """Spend the solutions of requests; return the refusals of those that another player has spent. Raises UNAVAILABLE."""
        indexes = list(solutions)
        documents = [
            {"_id": each.solution.challenge, "player": each.player, "expires_at": each.solution.expires_at}
            for each in solutions.values()
        ]
        existed = {indexes[place] for place in await insert_each(self._spent, documents)}
        if not existed:
            return {}
        ids = [solutions[index].solution.challenge for index in existed]
        async with unavailable_on_failure():
            spent = {each["_id"]: each["player"] async for each in self._spent.find({"_id": {"$in": ids}})}
        return {
            index: invalid("solution", "was spent by another player: solve a new challenge")
            for index in existed
            if spent.get(solutions[index].solution.challenge) != solutions[index].player
        }
