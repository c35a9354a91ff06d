"""The use cases of erasing an account, and the work that is left after it.

An account is erased in one write: from then on nobody signs in with it, and the event takes the player from every board.
What the services keep of him is then taken out by asking each, again and again, until the score service says that nothing
can come back and his last tokens have run out; only then the user id is forgotten here. Who dies meanwhile begins again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog
import uuid_utils
from prometheus_client import Counter
from topten.quiz.v1 import quiz_service_pb2
from topten.score.v1 import score_service_pb2

from services.identity.changes import PLAYER_ERASED, Change
from services.identity.erasure_store import Erasure, ErasureStore
from services.identity.passwords import Passwords
from services.identity.store import IdentityStore
from services.runtime.auth import auth_failures
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc_client import call
from services.runtime.lifecycle import cancel, spawn
from services.runtime.outbox import Outbox, WaitingEvent

if TYPE_CHECKING:
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub
    from topten.score.v1.score_service_pb2_grpc import ScoreServiceAsyncStub

LOOK_SECONDS: Final = 1.0
# After this another instance goes on, if the one that told last has died; both at once would do no harm.
LEASE: Final = timedelta(seconds=10)
LONGEST_PAUSE: Final = timedelta(minutes=5)
erasures = Counter("topten_erasures_total", "Accounts that were erased")
_log = structlog.get_logger("erasing")


class Erasing:
    """Every method raises UNAVAILABLE if the database does not answer; doing the same again is safe."""

    def __init__(
        self,
        store: ErasureStore,
        accounts: IdentityStore,
        passwords: Passwords,
        outbox: Outbox,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._passwords = passwords
        self._outbox = outbox
        self._now = now

    async def delete_account(self, user_id: str, password: str) -> None:
        """Erase the caller's own account. Raises CREDENTIALS_INVALID, PLAYER_NOT_FOUND.

        An outside issuer's player has no password here; that issuer's token is his proof.
        """
        accounts = await self._accounts.accounts([user_id])
        if not accounts:
            # Whoever can still prove that he was this player may know that it is done.
            if await self._store.are_erased([user_id]):
                return
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "No player has this id.")
        digest = accounts[0].password_hash
        if digest and not await self._passwords.matches(digest, password):
            auth_failures.labels("password").inc()
            raise ServiceError(Reason.CREDENTIALS_INVALID, "The password is not right.")
        await self._erase(user_id, actor="")

    async def erase_user(self, username: str, *, actor: str) -> None:
        """Erase the account of this name. Raises PLAYER_NOT_FOUND."""
        account = await self._accounts.account_by_name(username)
        if account is None:
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "No player has this name.")
        await self._erase(account.user_id, actor=actor)

    async def erased(self, user_ids: list[str]) -> list[str]:
        """Those of the ids whose accounts were erased."""
        return await self._store.are_erased(user_ids) if user_ids else []

    async def _erase(self, user_id: str, *, actor: str) -> None:
        change = Change(str(uuid_utils.uuid7()), user_id, PLAYER_ERASED, self._now(), actor, "")
        event = await self._store.erase(change, self._now() + self._outbox.lease)
        if event:
            erasures.inc()
            _log.info("an account is erased", change=change.event_id, by=actor or "the player")
            self._outbox.publish(WaitingEvent(change.event_id, user_id, event))


class Forgetting:
    """A server: between `start` and `stop` every service is told of erased players until none names them.

    `repeat_for` is for how long they are told at least: longer than an access token lives, since somebody may still play
    with one while identity can't be asked.
    """

    def __init__(
        self,
        store: ErasureStore,
        score: ScoreServiceAsyncStub,
        quiz: QuizServiceAsyncStub,
        token: Callable[[], str],
        *,
        repeat_for: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._score = score
        self._quiz = quiz
        self._token = token
        self._repeat_for = repeat_for
        self._now = now
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to look, for what was left by those who died as well."""
        self._task = spawn("forgetting", self._run())

    async def stop(self) -> None:
        """Whoever is next goes on."""
        if self._task is not None:
            await cancel(self._task)

    async def _run(self) -> None:
        while True:
            try:
                while erasure := await self._store.due(self._now(), LEASE):
                    await self._tell(erasure)
            except ServiceError as error:
                _log.warning("erased players are not forgotten yet", reason=error.reason)
            await asyncio.sleep(LOOK_SECONDS)

    async def _tell(self, erasure: Erasure) -> None:
        """One round. Whatever fails in it is tried again, after a while that grows."""
        is_last = self._now() >= erasure.at + self._repeat_for
        try:
            told = score_service_pb2.ErasePlayerRequest(user_id=erasure.user_id)
            answer = await call(self._score.ErasePlayer, told, token=self._token())
            asked = quiz_service_pb2.ErasePlayerRequest(user_id=erasure.user_id, pseudonym=answer.pseudonym)
            await call(self._quiz.ErasePlayer, asked, token=self._token())
            if answer.done and is_last and await self._store.finish(erasure.user_id, answer.pseudonym):
                _log.info("an erased player is forgotten", pseudonym=answer.pseudonym, rounds=erasure.tries)
                return
        except ServiceError as error:
            _log.warning("an erasure goes on later", reason=error.reason, rounds=erasure.tries)
        pause = min(timedelta(seconds=2 ** min(erasure.tries - 1, 10)), LONGEST_PAUSE)
        await self._store.postpone(erasure.user_id, self._now() + pause)
