"""A reader's own place beside the board: who reads where, and what was told to each.

One upstream for up to 500 players of a board. A player who comes is put into a group that has room, whose upstream then
begins anew with him, at most once in a while, so that a thousand who come together cost a few calls. Must never wait for
a reader, nor hold a player's place for longer than he reads.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import structlog
from topten.leaderboard.v1.leaderboard_service_pb2 import WatchRanksRequest

from edge.stream.frames import Message, encode_me
from edge.upstreams import Upstreams
from services.runtime.call_context import begin_call
from services.runtime.errors import ServiceError
from services.runtime.grpc_client import open_stream
from services.runtime.lifecycle import cancel, spawn

if TYPE_CHECKING:
    from edge.stream.subscriber import Subscriber

GROUP_SIZE: Final = 500
# Between two beginnings of one group's upstream.
GATHER_SECONDS: Final = 0.2
RETRY_SECONDS: Final = 3.0
_log = structlog.get_logger("stream.own")


class _Player:
    """Who reads as this player, and what was told last."""

    __slots__ = ("group", "last", "subscribers")

    def __init__(self, group: _Group) -> None:
        self.group = group
        self.last: Message | None = None
        self.subscribers: set[Subscriber] = set()


class _Group:
    """Players who share an upstream."""

    def __init__(self) -> None:
        self.user_ids: set[str] = set()
        self.grew = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class OwnPlaces:
    """The own places of the readers of one board, named as text. `close` ends all upstreams."""

    def __init__(self, board: str, upstreams: Upstreams) -> None:
        self._board = board
        self._upstreams = upstreams
        self._players: dict[str, _Player] = {}
        self._groups: list[_Group] = []

    async def close(self) -> None:
        """Ends all upstreams."""
        await cancel(*(group.task for group in self._groups if group.task is not None))

    def enter(self, subscriber: Subscriber) -> None:
        """Tells the subscriber where its player stands from now on, at once if that is known."""
        player = self._players.get(subscriber.user_id) or self._enter(subscriber.user_id)
        player.subscribers.add(subscriber)
        if player.last is not None:
            subscriber.write(player.last)

    def leave(self, subscriber: Subscriber) -> None:
        """Tells it no more."""
        player = self._players.get(subscriber.user_id)
        if player is not None:
            player.subscribers.discard(subscriber)
            if not player.subscribers:
                self._leave(subscriber.user_id, player.group)

    def _enter(self, user_id: str) -> _Player:
        group = next((group for group in self._groups if len(group.user_ids) < GROUP_SIZE), None)
        if group is None:
            group = _Group()
            group.task = spawn(f"own places {self._board}", self._keep(group))
            self._groups.append(group)
        group.user_ids.add(user_id)
        group.grew.set()
        player = self._players[user_id] = _Player(group)
        return player

    def _leave(self, user_id: str, group: _Group) -> None:
        del self._players[user_id]
        group.user_ids.discard(user_id)
        if not group.user_ids and group.task is not None:
            self._groups.remove(group)
            group.task.cancel()

    async def _keep(self, group: _Group) -> None:
        """Keeps the group's upstream open, with everybody who is in it."""
        structlog.contextvars.clear_contextvars()
        while True:
            begin_call(None)
            await asyncio.sleep(GATHER_SECONDS)
            group.grew.clear()
            watching = asyncio.ensure_future(self._watch(list(group.user_ids)))
            growing = asyncio.ensure_future(group.grew.wait())
            try:
                await asyncio.wait({watching, growing}, return_when=asyncio.FIRST_COMPLETED)
                if watching.done():
                    watching.result()
                    await asyncio.sleep(RETRY_SECONDS)  # the board has closed, and so will its streams
            except ServiceError as error:
                _log.info("own places are not known", board=self._board, reason=error.reason)
                await asyncio.sleep(RETRY_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311  # it spreads load
            finally:
                await cancel(watching, growing)

    async def _watch(self, user_ids: list[str]) -> None:
        token = await self._upstreams.service_token.get()
        request = WatchRanksRequest(board=self._board, user_ids=user_ids)
        async with open_stream(self._upstreams.leaderboard.WatchRanks, request, token=token) as answers:
            async for answer in answers:
                for standing in answer.standings:
                    player = self._players.get(standing.user_id)
                    if player is None:
                        continue
                    message = encode_me(answer.board, standing)
                    if player.last is None or player.last.plain != message.plain:
                        player.last = message
                        _write(player.subscribers, message)


def _write(subscribers: Iterable[Subscriber], message: Message) -> None:
    for subscriber in list(subscribers):
        if subscriber.is_open:
            subscriber.write(message)
