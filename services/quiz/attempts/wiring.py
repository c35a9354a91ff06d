"""Builds the parts of attempts from the stores and services of the process."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from services.quiz.attempts.attempt_store import AttemptStore
from services.quiz.attempts.deadlines import AttemptDeadlines
from services.quiz.attempts.extra_time_store import ExtraTimeStore
from services.quiz.attempts.rpc import AttemptServicer
from services.quiz.attempts.service import AttemptService
from services.quiz.authoring.authorship import Authorship
from services.quiz.player_lookup import PlayerLookup
from services.quiz.quizzes.quiz_cache import QuizCache
from services.quiz.submissions.service import SubmissionService
from services.quiz.submissions.store import SubmissionStore
from services.runtime.process.periodic import Periodic


class Attempts(NamedTuple):
    """Attempts as the process runs them."""

    service: AttemptService
    servicer: AttemptServicer
    servers: list[Periodic]


def attempts_of(
    attempts: AttemptStore,
    extra_times: ExtraTimeStore,
    submissions: SubmissionStore,
    submitting: SubmissionService,
    cache: QuizCache,
    players: PlayerLookup,
    authorship: Authorship,
    *,
    now: Callable[[], datetime],
) -> Attempts:
    """Return the parts of attempts."""
    deadlines = AttemptDeadlines(attempts, submitting, now=now)
    service = AttemptService(attempts, extra_times, submissions, cache, players, authorship, deadlines, now=now)
    return Attempts(service, AttemptServicer(service, deadlines), deadlines.servers())
