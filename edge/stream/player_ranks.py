"""The player-rank feed of a board: each subscriber's own standing, beside the frames.

Up to 500 players share an upstream. A player who joins is put into a group with room, whose upstream is then opened again
with them, but not more than five times a second, so that a thousand who join at once cost a few calls. Must never wait for
a client, nor keep a player's standing after their last stream.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

import structlog
from topten.leaderboard.v1.leaderboard_service_pb2 import WatchRanksRequest

from edge.stream.frames import Message, encode_me
from edge.upstreams import Upstreams
from services.runtime.errors import ServiceError
from services.runtime.grpc.call_context import begin_call
from services.runtime.grpc.client import open_stream
from services.runtime.process.lifecycle import cancel, spawn

if TYPE_CHECKING:
    from edge.stream.subscriber import Subscriber

GROUP_SIZE: Final = 500
# Players who join within this time share one restart of their group's upstream.
JOIN_SECONDS: Final = 0.2
RETRY_SECONDS: Final = 3.0
_log = structlog.get_logger("stream.player_ranks")


class _Player:
    """A player's subscribers and the last standing they were sent."""

    __slots__ = ("group", "standing", "subscribers")

    def __init__(self, group: _Group) -> None:
        self.group = group
        self.standing: Message | None = None
        self.subscribers: set[Subscriber] = set()


class _Group:
    """Players who share an upstream."""

    def __init__(self) -> None:
        self.user_ids: set[str] = set()
        self.joined = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class PlayerRankFeed:
    """The standings of the players who watch the board named `board`. `close` ends all upstreams."""

    def __init__(self, board: str, upstreams: Upstreams) -> None:
        self._board = board
        self._upstreams = upstreams
        self._players: dict[str, _Player] = {}
        self._groups: list[_Group] = []

    async def close(self) -> None:
        """Close the upstreams."""
        await cancel(*(group.task for group in self._groups if group.task is not None))

    def subscribe(self, subscriber: Subscriber) -> None:
        """Send the subscriber their player's standing, at once if it is known, and whenever it changes."""
        player = self._players.get(subscriber.user_id) or self._join(subscriber.user_id)
        player.subscribers.add(subscriber)
        if player.standing is not None:
            subscriber.write(player.standing)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Stop sending; forgets the player with their last subscriber."""
        player = self._players.get(subscriber.user_id)
        if player is not None:
            player.subscribers.discard(subscriber)
            if not player.subscribers:
                self._leave(subscriber.user_id, player.group)

    def _join(self, user_id: str) -> _Player:
        group = next((group for group in self._groups if len(group.user_ids) < GROUP_SIZE), None)
        if group is None:
            group = _Group()
            group.task = spawn(f"player ranks {self._board}", self._run(group))
            self._groups.append(group)
        group.user_ids.add(user_id)
        group.joined.set()
        player = self._players[user_id] = _Player(group)
        return player

    def _leave(self, user_id: str, group: _Group) -> None:
        del self._players[user_id]
        group.user_ids.discard(user_id)
        if not group.user_ids and group.task is not None:
            self._groups.remove(group)
            group.task.cancel()

    async def _run(self, group: _Group) -> None:
        """Keep the group's upstream open, and open it again with each player who joins."""
        structlog.contextvars.clear_contextvars()
        while True:
            begin_call(None)
            await asyncio.sleep(JOIN_SECONDS)
            group.joined.clear()
            watching = asyncio.ensure_future(self._watch(list(group.user_ids)))
            joining = asyncio.ensure_future(group.joined.wait())
            try:
                await asyncio.wait({watching, joining}, return_when=asyncio.FIRST_COMPLETED)
                if watching.done():
                    watching.result()
                    await asyncio.sleep(RETRY_SECONDS)  # the board has closed, and its streams are about to end
            except ServiceError as error:
                _log.info("player ranks unavailable", board=self._board, reason=error.reason)
                await asyncio.sleep(RETRY_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
            finally:
                await cancel(watching, joining)

    async def _watch(self, user_ids: list[str]) -> None:
        token = await self._upstreams.service_token.get()
        request = WatchRanksRequest(board=self._board, user_ids=user_ids)
        async with open_stream(self._upstreams.leaderboard.WatchRanks, request, token=token) as responses:
            async for response in responses:
                for standing in response.standings:
                    player = self._players.get(standing.user_id)
                    if player is not None:
                        _send(player, encode_me(response.board, standing))


def _send(player: _Player, standing: Message) -> None:
    if player.standing is None or player.standing.plain != standing.plain:
        player.standing = standing
        for subscriber in list(player.subscribers):
            if subscriber.is_open:
                subscriber.write(standing)
