"""The use cases of quizzes: read, list, import."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import structlog
from topten.quiz.v1 import quiz_pb2

from services.quiz.quizzes.quiz import from_definition, media_faults, problems
from services.quiz.quizzes.quiz_cache import quiz_not_found
from services.runtime.errors import Reason, ServiceError
from services.runtime.page_tokens import page_token, read_page_token

if TYPE_CHECKING:
    from services.quiz.quizzes.delivery_store import DeliveryStore
    from services.quiz.quizzes.quiz_cache import QuizCache
    from services.quiz.quizzes.quiz_store import QuizStore, StoredQuiz

DEFAULT_PAGE: Final = 20
LISTING: Final = "quizzes"
_log = structlog.get_logger("quiz")


@dataclass(frozen=True, slots=True)
class Page:
    """Quizzes by id, the token of what follows each, whether there is more, and the number of all."""

    quizzes: Sequence[quiz_pb2.Quiz]
    cursors: Sequence[str]
    has_more: bool
    total: int


class QuizService:
    """Serves quizzes without their answer keys, and notes when a player receives one."""

    def __init__(
        self,
        store: QuizStore,
        cache: QuizCache,
        deliveries: DeliveryStore,
        *,
        media_hosts: Collection[str],
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._cache = cache
        self._deliveries = deliveries
        self._media_hosts = media_hosts
        self._now = now

    async def quiz(self, quiz_id: str, player: str) -> quiz_pb2.Quiz:
        """Return a quiz as players see it before an attempt.

        `player` is the id of the player who receives it; empty for other callers. Raises QUIZ_NOT_FOUND, UNAVAILABLE.
        """
        quiz = await self._cache.quiz(quiz_id)
        if quiz.timing is None:
            self._delivered(player, [quiz_id])
        return quiz.preview

    async def quizzes(self, limit: int, token: str, tag: str, player: str) -> Page:
        """Return a page of quizzes by id; `limit` is 1 to 50, 0 is 20. An empty tag lists every quiz.

        While the store is away, the last page for the same arguments is returned. Raises INVALID_ARGUMENT and
        CURSOR_EXPIRED for a wrong token, UNAVAILABLE.
        """
        (after,) = read_page_token(token, LISTING, str) or ("",)
        limit = limit or DEFAULT_PAGE
        stored, total = await self._cache.page(after, limit + 1, tag)
        views = [from_definition(each.definition, each.version).preview for each in stored[:limit]]
        self._delivered(player, [view.quiz_id for view in views if view.questions])
        cursors = [page_token(LISTING, view.quiz_id) for view in views]
        return Page(views, cursors, len(stored) > limit, total)

    async def import_quiz(
        self, definition: quiz_pb2.QuizDefinition, *, actor: str, expected: int | None = None
    ) -> tuple[int, bool]:
        """Store a definition; return its version, and whether it changed.

        Raises INVALID_ARGUMENT with every fault, and VERSION_CONFLICT if another version than `expected` would be replaced.
        """
        if faults := [*problems(definition), *media_faults(definition, self._media_hosts)]:
            raise ServiceError(Reason.INVALID_ARGUMENT, "The quiz definition is invalid.", violations=faults)
        version, changed = await self._store.put_quiz(definition, self._now(), expected=expected)
        if changed:
            await self._cache.announce(definition, version)
            _log.info("quiz imported", quiz_id=definition.quiz_id, version=version, actor=actor)
        return version, changed

    async def export_quiz(self, quiz_id: str, *, actor: str) -> StoredQuiz:
        """Return the current definition with its answer keys. Raises QUIZ_NOT_FOUND, UNAVAILABLE."""
        stored = await self._store.quiz(quiz_id)
        if stored is None:
            raise quiz_not_found(quiz_id)
        _log.info("quiz exported", quiz_id=quiz_id, version=stored.version, actor=actor)
        return stored

    def _delivered(self, player: str, quiz_ids: Iterable[str]) -> None:
        if player:
            self._deliveries.add(player, quiz_ids, self._now())
