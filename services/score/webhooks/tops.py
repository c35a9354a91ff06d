"""Watches the boards that webhooks name, and announces players who enter their top or are passed there.

Facts are found by comparing frames of the leaderboard every two seconds: a player who enters and leaves in between is not
noticed. The first frame of a series announces nobody. The deliveries of a comparison are stored before its frame, and their
ids are derived from the previous frame, so that a crash or a concurrent worker adds none twice. One worker watches at a time,
under a lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final

import structlog
from topten.leaderboard.v1.leaderboard_service_pb2 import WatchLeaderboardRequest

from services.runtime.auth.service_token import ServiceToken
from services.runtime.errors import ServiceError
from services.runtime.grpc.client import open_stream
from services.runtime.process.lifecycle import cancel, spawn
from services.runtime.process.periodic import Periodic
from services.score.coordination_store import CoordinationStore
from services.score.errors import STORE_ERRORS
from services.score.webhooks.announcer import Announcer
from services.score.webhooks.top_store import Top, TopStore
from services.score.webhooks.webhook import ENTERED_TOP, MAX_TOP, OF_TOPS, PASSED, Fact, watched_series
from services.score.webhooks.webhook_store import WebhookStore

if TYPE_CHECKING:
    from topten.leaderboard.v1.leaderboard_pb2 import Frame
    from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceAsyncStub

COMPARE_EVERY: Final = timedelta(seconds=2)
_LEASE: Final = timedelta(seconds=15)
_LEASE_NAME: Final = "lease:webhook-tops"
_RECONNECT_SECONDS: Final = 2.0
_log = structlog.get_logger("webhooks")


class TopWatcher:
    """Watches and compares between `start` and `stop`. A server."""

    def __init__(
        self,
        webhooks: WebhookStore,
        tops: TopStore,
        announcer: Announcer,
        coordination: CoordinationStore,
        leaderboard: LeaderboardServiceAsyncStub,
        token: ServiceToken,
        worker_id: str,
    ) -> None:
        self._webhooks = webhooks
        self._tops = tops
        self._announcer = announcer
        self._coordination = coordination
        self._leaderboard = leaderboard
        self._token = token
        self._worker_id = worker_id
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._latest: dict[str, Frame] = {}
        # No top is stored, as of this worker's last step with the lease.
        self._keeps_none = False
        self._steps = Periodic("tops", self.step, every=COMPARE_EVERY, at_rest=15, retry_on=STORE_ERRORS)

    async def start(self) -> None:
        """Start the loop."""
        await self._steps.start()

    async def stop(self) -> None:
        """End the loop and all watches."""
        await self._steps.stop()
        await self._end_watches()

    async def step(self) -> None:
        """Watch what webhooks name, and compare the latest frames. Raises store errors."""
        wanted = watched_series(await self._webhooks.of_kinds(OF_TOPS))
        if not wanted and self._keeps_none:
            return
        if not await self._coordination.take_lease(self._worker_id, _LEASE, _LEASE_NAME):
            await self._end_watches()
            return
        await self._tops.keep(wanted)
        self._keeps_none = not wanted
        for series in self._watches.keys() - wanted:
            await cancel(self._watches.pop(series))
            self._latest.pop(series, None)
        for series in wanted - self._watches.keys():
            self._watches[series] = spawn("top", self._watch(series))
        for series in list(self._latest):
            await self.compare(series, self._latest.pop(series))

    async def compare(self, series: str, frame: Frame) -> None:
        """Announce the players who entered the top, or were passed there, since the previous frame. Raises store errors."""
        while not frame.stale and not await self._compare_once(series, frame):
            pass  # another worker stored a later frame; this one may still be later than that

    async def _compare_once(self, series: str, frame: Frame) -> bool:
        """Return False if another worker stored a frame meanwhile."""
        former = await self._tops.find(series)
        players = [entry.user_id for entry in frame.entries[:MAX_TOP]]
        number = 1 if former is None else former.number + 1
        top = Top(series, frame.board, frame.generation, frame.version, number, players)
        if former is not None:
            if frame.board == former.board and top.position <= former.position:
                return True
            before = former.players if frame.board == former.board else ()
            await self._announcer.announce([*_entered(top, before, frame), *_passed(top, before, frame)])
        return await self._tops.replace(top)

    async def _end_watches(self) -> None:
        await cancel(*self._watches.values())
        self._watches.clear()
        self._latest.clear()

    async def _watch(self, series: str) -> None:
        while True:
            try:
                request = WatchLeaderboardRequest(board=series)
                token = await self._token.get()
                async with open_stream(self._leaderboard.WatchLeaderboard, request, token=token) as responses:
                    async for response in responses:
                        self._latest[series] = response.frame
            except ServiceError as error:
                _log.warning("board of a webhook not watched", board=series, reason=error.reason)
            await asyncio.sleep(_RECONNECT_SECONDS)


def _entered(top: Top, before: Sequence[str], frame: Frame) -> list[Fact]:
    """Return a fact for each player with a better place than before; `wants` decides whose top they have entered."""
    # Places, which differ from ranks where equal points share one.
    former_places = {user_id: place for place, user_id in enumerate(before, 1)}
    at = frame.timestamp.ToDatetime(UTC)
    return [
        Fact(
            f"{top.series}:{top.number}:{entry.user_id}",
            ENTERED_TOP,
            at,
            {"board": top.board, "userId": entry.user_id, "rank": entry.rank, "score": entry.score},
            user_id=entry.user_id,
            series=top.series,
            rank=place,
            former_rank=former_places.get(entry.user_id, MAX_TOP + 1),
        )
        for place, entry in enumerate(frame.entries[:MAX_TOP], 1)
        if place < former_places.get(entry.user_id, MAX_TOP + 1)
    ]


def _passed(top: Top, before: Sequence[str], frame: Frame) -> list[Fact]:
    """Return a fact for each player in the frame who was passed by a player behind them."""
    former_places = {user_id: place for place, user_id in enumerate(before, 1) if user_id}
    at = frame.timestamp.ToDatetime(UTC)
    facts = []
    for index, entry in enumerate(frame.entries[:MAX_TOP]):
        former = former_places.get(entry.user_id)
        ahead = [each.user_id for each in frame.entries[:index]]
        passers = [each for each in ahead if former is not None and former_places.get(each, MAX_TOP + 1) > former]
        if former is None or not passers:
            continue
        data = {
            "board": top.board,
            "userId": entry.user_id,
            "rank": entry.rank,
            "score": entry.score,
            "passedBy": passers,
        }
        fact_id = f"{top.series}:{top.number}:{entry.user_id}"
        facts.append(
            Fact(
                fact_id, PASSED, at, data, user_id=entry.user_id, series=top.series, rank=index + 1, former_rank=former
            )
        )
    return facts
