"""Erasing a player from the other services after their account was erased here.

Each round asks every service, with growing pauses, until the score service reports that no record can reappear and the
player's last tokens have expired. Only then the user id is removed here. Another instance continues if this one dies.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog
from topten.quiz.v1 import quiz_service_pb2
from topten.score.v1 import score_service_pb2

from services.identity.erasure.erasure_store import Erasure, ErasureStore
from services.runtime.errors import ServiceError
from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub
    from topten.score.v1.score_service_pb2_grpc import ScoreServiceAsyncStub

# A round that was not finished is repeated after this, by any instance. Two at once are harmless.
LEASE: Final = timedelta(seconds=10)
MAX_PAUSE: Final = timedelta(minutes=5)
_log = structlog.get_logger("erasure")


class ErasurePropagation:
    """Asks score and quiz to erase players.

    `repeat_for` is the minimum time over which they are asked again. It must exceed the lifetime of an access token, with
    which a player may still act while identity is away.
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

    async def run_due(self) -> None:
        """Run one round for every erasure that is due. Raises UNAVAILABLE if the database does not respond."""
        while erasure := await self._store.due(self._now(), LEASE):
            await self._round(erasure)

    async def _round(self, erasure: Erasure) -> None:
        may_finish = self._now() >= erasure.at + self._repeat_for
        try:
            in_score = score_service_pb2.ErasePlayerRequest(user_id=erasure.user_id)
            response = await call(self._score.ErasePlayer, in_score, token=self._token())
            in_quiz = quiz_service_pb2.ErasePlayerRequest(user_id=erasure.user_id, pseudonym=response.pseudonym)
            await call(self._quiz.ErasePlayer, in_quiz, token=self._token())
            if response.done and may_finish and await self._store.finish(erasure.user_id, response.pseudonym):
                _log.info("erasure completed", pseudonym=response.pseudonym, rounds=erasure.tries)
                return
        except ServiceError as error:
            _log.warning("erasure postponed", reason=error.reason, rounds=erasure.tries)
        pause = min(timedelta(seconds=2 ** min(erasure.tries - 1, 10)), MAX_PAUSE)
        await self._store.postpone(erasure.user_id, self._now() + pause)
