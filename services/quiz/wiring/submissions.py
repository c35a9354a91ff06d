"""Builds what records submissions: the cache of quizzes, the outbox, the use case, and the wait until one is counted."""

from __future__ import annotations

from dataclasses import dataclass

from services.confirmation.confirmations import Confirmations
from services.confirmation.signals import CountedSignals
from services.quiz.config import QuizConfig
from services.quiz.player_lookup import PlayerLookup
from services.quiz.quizzes.quiz_cache import QuizCache
from services.quiz.relay import Relay
from services.quiz.submissions.confirmed_submission import ConfirmedSubmission
from services.quiz.submissions.reviews import Reviews
from services.quiz.submissions.service import SubmissionService
from services.quiz.wiring.connections import Stores, Upstreams
from services.runtime.auth.verification import TokenVerifier
from services.runtime.outbox.publishing import Outbox


@dataclass(frozen=True)
class Submissions:
    """Submissions as the process runs them."""

    cache: QuizCache
    outbox: Outbox
    players: PlayerLookup
    reviews: Reviews
    service: SubmissionService
    relay: Relay
    signals: CountedSignals
    confirmed: ConfirmedSubmission

    def forget(self) -> None:
        """Empty the caches, because the database holds other data now."""
        self.cache.forget()
        self.players.forget()
        self.service.forget()


def build_submissions(config: QuizConfig, stores: Stores, upstreams: Upstreams, verifier: TokenVerifier) -> Submissions:
    """Return the parts of submissions."""
    now = stores.mongo.clock.now
    cache = QuizCache(stores.quizzes, stores.redis, ttl=config.cache_ttl)
    outbox = Outbox(
        stores.submissions.outbox,
        stores.publisher,
        stores.incarnation,
        interval=config.outbox_interval,
        lease=config.outbox_lease,
        now=now,
    )
    players = PlayerLookup(upstreams.identity, upstreams.token, now=now)
    reviews = Reviews(stores.submissions, cache, now=now)
    service = SubmissionService(
        stores.submissions,
        cache,
        stores.action_types,
        stores.attempts,
        outbox,
        players,
        stores.deliveries,
        reviews,
        window=config.timestamp_window,
        version_grace=config.version_grace,
        now=now,
    )
    signals = CountedSignals(stores.redis)
    confirmations = Confirmations(signals, upstreams.leaderboard, upstreams.token)
    return Submissions(
        cache,
        outbox,
        players,
        reviews,
        service,
        Relay(verifier),
        signals,
        ConfirmedSubmission(service, confirmations),
    )
