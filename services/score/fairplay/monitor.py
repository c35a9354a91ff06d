"""The fair-play monitor: judges counted events, stores suspicions as flags, and blocks players if the policy says so.

A server. Must never delay or lose a score: a failing rule is logged and counted, a flag that cannot be stored at once is
stored later, and blocks are requested in the background until identity has responded.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog
from cachetools import LRUCache
from topten.identity.v1 import identity_service_pb2

from services.runtime.auth.service_token import ServiceToken
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call
from services.runtime.process.lifecycle import cancel, spawn
from services.runtime.process.periodic import Periodic
from services.score.errors import STORE_ERRORS
from services.score.fairplay.flag_store import Flag, FlagStore
from services.score.fairplay.rules import Limits, Suspicion, suspicions
from services.score.ledger.events import Event
from services.score.ledger.folds.fold import Fold
from services.score.ledger.times import time_of
from services.score.metrics import FLAGS, RULE_FAILURES

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

    from services.runtime.stores.incarnation import Incarnation

# How long a batch waits for its flags, which are usually stored before the batch is acknowledged.
WAIT_SECONDS: Final = 0.5
MAX_PENDING_WRITES: Final = 100
# Ids of stored flags, about 150 bytes each.
MAX_STORED_IDS: Final = 10_000
_RETRY: Final = timedelta(seconds=1)
_PAGE: Final = 100
# A flag leads to one block, however often it is requested.
_NAMESPACE: Final = uuid.UUID("b9c7e0a4-5f0e-4a53-9a55-7d8f0f6f7a10")
_FINAL_REASONS: Final = frozenset({Reason.PLAYER_NOT_FOUND, Reason.PERMISSION_DENIED, Reason.INVALID_ARGUMENT})
_log = structlog.get_logger("fair_play")


class Blocker:
    """Requests blocks from identity in this service's name, each for `duration` from the flag's time on."""

    def __init__(self, identity: IdentityServiceAsyncStub, token: ServiceToken, duration: timedelta) -> None:
        self._identity = identity
        self._token = token
        self._duration = duration

    async def block(self, flag: Flag) -> None:
        """Block the player of a flag. Idempotent. Raises ServiceError."""
        request = identity_service_pb2.BlockUserRequest(
            user_id=flag.user_id,
            reason=f"{flag.rule}: {flag.reason}",
            change_id=str(uuid.uuid5(_NAMESPACE, flag.flag_id)),
        )
        request.expires_at.FromDatetime(time_of(flag.at) + self._duration)
        await call(self._identity.BlockUser, request, token=await self._token.get())


class FairPlayMonitor:
    """Judges batches between `start` and `stop`. A violation of a rule in `blocking` blocks the player."""

    def __init__(self, flags: FlagStore, blocker: Blocker, *, limits: Limits, blocking: Collection[str]) -> None:
        self._flags = flags
        self._blocker = blocker
        self._limits = limits
        self._blocking = frozenset(blocking)
        self._writes: set[asyncio.Task[None]] = set()
        self._stored_ids: LRUCache[str, None] = LRUCache(MAX_STORED_IDS)
        self._block_pending = asyncio.Event()
        self._blocks = Periodic(
            "blocks", self._block_pending_flags, every=_RETRY, retry_on=(*STORE_ERRORS, ServiceError)
        )

    async def start(self) -> None:
        """Start blocking, first for flags of an earlier run."""
        self._block_pending.set()
        await self._blocks.start()

    async def stop(self) -> None:
        """Stop, after waiting a moment for flags that are being stored."""
        await self._blocks.stop()
        if self._writes:
            await asyncio.wait(set(self._writes), timeout=WAIT_SECONDS)
        await cancel(*self._writes)

    async def forget(self, _incarnation: Incarnation) -> None:
        """Forget which flags are stored, because the database holds other data now: what is counted again is judged again."""
        self._stored_ids.clear()

    async def review(self, events: Iterable[Event], folds: Mapping[str, Fold]) -> None:
        """Judge counted events. Never raises, and takes at most half a second."""
        try:
            new = [
                suspicion
                for event in events
                for suspicion in suspicions(event, folds[event.user_id], self._limits)
                # A player who violates a rule does so again within the minute; each batch would wait for a write.
                if suspicion.flag_id not in self._stored_ids
            ]
        except Exception:  # noqa: BLE001  # whatever is wrong with a rule, the points are right
            RULE_FAILURES.inc()
            _log.exception("rule failed")
            return
        if not new:
            return
        if len(self._writes) >= MAX_PENDING_WRITES:
            _log.error("flags lost, too many are waiting for the database", flags=len(new))
            return
        task = spawn("flags", self._store(new))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        await asyncio.wait({task}, timeout=WAIT_SECONDS)

    async def _store(self, found: list[Suspicion]) -> None:
        while True:
            try:
                new = await self._flags.add(found, self._blocking)
                break
            except STORE_ERRORS as error:
                _log.warning("flags not stored yet", flags=len(found), error=type(error).__name__)
            await asyncio.sleep(_RETRY.total_seconds())
        self._stored_ids.update({suspicion.flag_id: None for suspicion in found})
        for suspicion in new:
            FLAGS.labels(suspicion.rule).inc()
            _log.warning("flagged", rule=suspicion.rule, user_id=suspicion.user_id, reason=suspicion.reason)
            self._block_pending.set()

    async def _block_pending_flags(self) -> None:
        await self._block_pending.wait()
        self._block_pending.clear()
        try:
            while flags := await self._flags.pending_blocks(_PAGE):
                for flag in flags:
                    await self._block(flag)
        except (*STORE_ERRORS, ServiceError):
            self._block_pending.set()
            raise

    async def _block(self, flag: Flag) -> None:
        refused = ""
        try:
            await self._blocker.block(flag)
        except ServiceError as error:
            if error.reason not in _FINAL_REASONS:
                raise
            refused = f"not blocked: {error.message}"
        await self._flags.record_block(flag.flag_id, refused=refused)
        _log.warning("block requested by policy", user_id=flag.user_id, rule=flag.rule, refused=refused)
