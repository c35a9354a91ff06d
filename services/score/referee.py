"""Fair play: what was counted is judged by the rules, what is suspicious is kept, and who the policy says is blocked.

A server. Must never delay or lose a score: a rule that fails is logged and counted, a flag that can't be written at once
is written later, and a block is asked for in the background until identity has answered.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog
from topten.identity.v1 import identity_service_pb2

from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc_client import call
from services.runtime.lifecycle import cancel, spawn
from services.runtime.service_token import ServiceToken
from services.score.answers import STORE_ERRORS
from services.score.flags import Flag, Flags
from services.score.ledger import Event, Fold
from services.score.metrics import FLAGS, RULE_FAILURES
from services.score.rules import Limits, Suspicion, suspicions
from services.score.standings import time_of

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

# How long a batch waits for its flags: as a rule they are written before their events are acknowledged.
WAIT_SECONDS: Final = 0.5
MOST_WAITING: Final = 100
# Flags that are known to be kept, about 150 bytes each.
MOST_REMEMBERED: Final = 10_000
_RETRY_SECONDS: Final = 1.0
_PAGE: Final = 100
# One flag leads to one block, however often it is asked for.
_NAMESPACE: Final = uuid.UUID("b9c7e0a4-5f0e-4a53-9a55-7d8f0f6f7a10")
_FINAL: Final = frozenset({Reason.PLAYER_NOT_FOUND, Reason.PERMISSION_DENIED, Reason.INVALID_ARGUMENT})
_log = structlog.get_logger("referee")


class Blocker:
    """Has identity block players for `length` from a flag's time on, in this service's name."""

    def __init__(self, identity: IdentityServiceAsyncStub, token: ServiceToken, length: timedelta) -> None:
        self._identity = identity
        self._token = token
        self._length = length

    def expires_at(self, flag: Flag) -> datetime:
        """When the block of a flag ends."""
        return time_of(flag.at) + self._length

    async def block(self, flag: Flag) -> None:
        """Returns when the player is blocked. Raises ServiceError."""
        request = identity_service_pb2.BlockUserRequest(
            user_id=flag.user_id,
            reason=f"{flag.rule}: {flag.reason}",
            change_id=str(uuid.uuid5(_NAMESPACE, flag.flag_id)),
        )
        request.expires_at.FromDatetime(self.expires_at(flag))
        await call(self._identity.BlockUser, request, token=await self._token.get())


class Referee:
    """Judges batches between `start` and `stop`. `blocking` names the rules that block who breaks them."""

    def __init__(self, flags: Flags, blocker: Blocker, *, limits: Limits, blocking: Collection[str]) -> None:
        self._flags = flags
        self._blocker = blocker
        self._limits = limits
        self._blocking = frozenset(blocking)
        self._writing: set[asyncio.Task[None]] = set()
        self._remembered: set[str] = set()
        self._wanted = asyncio.Event()
        self._blocks: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to block whom the policy says, those of an earlier run first."""
        self._wanted.set()
        self._blocks = spawn("blocks", self._block_for_ever())

    async def stop(self) -> None:
        """Waits a moment for flags that are being written."""
        if self._blocks is not None:
            await cancel(self._blocks)
        if self._writing:
            await asyncio.wait(set(self._writing), timeout=WAIT_SECONDS)
        await cancel(*self._writing)

    async def review(self, events: Iterable[Event], folds: Mapping[str, Fold]) -> None:
        """Judges events that are counted. Never raises, and waits for half a second at most."""
        try:
            found = [
                seen
                for event in events
                for seen in suspicions(event, folds[event.user_id], self._limits)
                # Who breaks a rule breaks it again within the minute, and batches would wait for a write each time.
                if seen.flag_id not in self._remembered
            ]
        except Exception:  # noqa: BLE001  # whatever is wrong with a rule, the points are right
            RULE_FAILURES.inc()
            _log.exception("a rule failed")
            return
        if not found:
            return
        if len(self._writing) >= MOST_WAITING:
            _log.error("flags are lost, the database does not take them", flags=len(found))
            return
        task = spawn("flags", self._keep(found))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        await asyncio.wait({task}, timeout=WAIT_SECONDS)

    async def _keep(self, found: list[Suspicion]) -> None:
        while True:
            try:
                new = await self._flags.keep(found, self._blocking)
            except STORE_ERRORS as error:
                _log.warning("flags are not written yet", flags=len(found), error=type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                break
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered.update(seen.flag_id for seen in found)
        for seen in new:
            FLAGS.labels(seen.rule).inc()
            _log.warning("flagged", rule=seen.rule, user_id=seen.user_id, reason=seen.reason)
            self._wanted.set()

    async def _block_for_ever(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                while flags := await self._flags.to_block(_PAGE):
                    for flag in flags:
                        await self._block(flag)
            except (*STORE_ERRORS, ServiceError) as error:
                _log.warning("a block waits", error=str(error)[:200])
                await asyncio.sleep(_RETRY_SECONDS)
                self._wanted.set()

    async def _block(self, flag: Flag) -> None:
        refused = ""
        try:
            await self._blocker.block(flag)
        except ServiceError as error:
            if error.reason not in _FINAL:
                raise
            refused = f"not blocked: {error.message}"
        await self._flags.blocked(flag.flag_id, refused=refused)
        _log.warning("blocked by policy", user_id=flag.user_id, rule=flag.rule, refused=refused)
