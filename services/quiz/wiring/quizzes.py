"""Builds quizzes: serving, authoring, attempts and rooms of them."""

from __future__ import annotations

from dataclasses import dataclass

from services.quiz.attempts.extra_time_store import ExtraTimeStore
from services.quiz.attempts.wiring import Attempts, attempts_of
from services.quiz.authoring.wiring import Authoring, authoring_of
from services.quiz.config import QuizConfig
from services.quiz.rooms.wiring import Rooms, rooms_of
from services.quiz.service import QuizService
from services.quiz.wiring.connections import Stores
from services.quiz.wiring.submissions import Submissions
from services.runtime.stores.mongo import long_operation


@dataclass(frozen=True)
class Quizzes:
    """Quizzes as the process runs them."""

    service: QuizService
    authoring: Authoring
    attempts: Attempts
    rooms: Rooms

    async def prepare(self) -> None:
        """Create the indexes. Idempotent. Raises UNAVAILABLE."""
        with long_operation():
            await self.rooms.prepare()
            await self.authoring.drafts.prepare()


async def build_quizzes(config: QuizConfig, stores: Stores, submissions: Submissions) -> Quizzes:
    """Return the parts of quizzes, with the indexes of their stores. Raises UNAVAILABLE."""
    now = stores.mongo.clock.now
    database, players, media_hosts = stores.mongo.database, submissions.players, config.media.hosts
    service = QuizService(stores.quizzes, submissions.cache, stores.deliveries, media_hosts=media_hosts, now=now)
    authoring = authoring_of(database, stores.quizzes, service, players, media_hosts=media_hosts, now=now)
    extra_times = ExtraTimeStore(database)
    attempts = attempts_of(
        stores.attempts,
        extra_times,
        stores.submissions,
        submissions.service,
        submissions.cache,
        players,
        authoring.authorship,
        now=now,
    )
    rooms = rooms_of(
        database,
        stores.redis,
        stores.quizzes,
        submissions.service,
        players,
        extra_times,
        submissions.relay,
        players_host=config.rooms.players_host,
        forbidden_nicknames=config.forbidden_nicknames,
        challenge_hashes=config.join_challenge_hashes,
        now=now,
    )
    quizzes = Quizzes(service, authoring, attempts, rooms)
    await quizzes.prepare()
    return quizzes
