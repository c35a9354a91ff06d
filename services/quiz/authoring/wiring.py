"""Builds the parts of authoring from the stores and services of the process."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import NamedTuple

from pymongo.asynchronous.database import AsyncDatabase

from services.quiz.authoring.authorship import Authorship
from services.quiz.authoring.draft_store import Document, DraftStore
from services.quiz.authoring.exchange import Exchange
from services.quiz.authoring.rpc import AuthoringServicer
from services.quiz.authoring.service import AuthoringService
from services.quiz.player_lookup import PlayerLookup
from services.quiz.quizzes.quiz_store import QuizStore
from services.quiz.service import QuizService


class Authoring(NamedTuple):
    """Authoring as the process runs it."""

    drafts: DraftStore
    authorship: Authorship
    servicer: AuthoringServicer


def authoring_of(
    database: AsyncDatabase[Document],
    quizzes: QuizStore,
    publishing: QuizService,
    players: PlayerLookup,
    *,
    media_hosts: Collection[str],
    now: Callable[[], datetime],
) -> Authoring:
    """Return the parts of authoring."""
    drafts = DraftStore(database)
    authorship = Authorship(drafts, quizzes, players)
    authoring = AuthoringService(drafts, quizzes, publishing, authorship, media_hosts=media_hosts, now=now)
    return Authoring(drafts, authorship, AuthoringServicer(authoring, Exchange(authoring)))
