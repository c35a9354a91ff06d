"""Who may change a quiz, for every method that reads or writes answer keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from services.quiz.authoring.draft import Draft, is_operator, owner_of
from services.runtime.errors import Reason, ServiceError

if TYPE_CHECKING:
    from services.quiz.authoring.draft_store import DraftStore
    from services.quiz.player_lookup import PlayerLookup
    from services.quiz.quizzes.quiz_store import QuizStore
    from services.runtime.auth.claims import Claims

_NOT_YOURS: Final = "This quiz belongs to other authors."
_log = structlog.get_logger("authoring")


class Authorship:
    """The owner and the editors of quizzes. A quiz without them belongs to admins and services."""

    def __init__(self, drafts: DraftStore, quizzes: QuizStore, players: PlayerLookup) -> None:
        self._drafts = drafts
        self._quizzes = quizzes
        self._players = players

    async def require(self, claims: Claims, quiz_id: str) -> None:
        """Raise PERMISSION_DENIED if the quiz exists and the caller is no author of it, moderator or operator."""
        if claims.may(frozenset({"moderator"})) or is_operator(claims):
            return
        draft = await self._drafts.get(quiz_id)
        if draft is None and not await self._quizzes.current([quiz_id]):
            return
        require_editor(claims, draft or Draft(quiz_id))

    async def claim(self, claims: Claims, quiz_id: str) -> None:
        """Make the caller the owner of a quiz that they just stored, unless it has authors or they are an operator."""
        if not is_operator(claims) and await self._drafts.get(quiz_id) is None:
            await self._drafts.share(quiz_id, owner_of(claims), ())

    async def share(self, claims: Claims, draft: Draft, owner: str, editors: list[str]) -> None:
        """Set the authors of a quiz. Raises PERMISSION_DENIED, PLAYER_NOT_FOUND, UNAVAILABLE."""
        require_owner(claims, draft)
        for user_id in {*editors, owner} - {"", *draft.editors, draft.owner}:
            if await self._players.find(user_id) is None:
                raise ServiceError(Reason.PLAYER_NOT_FOUND, f"No account has the ID {user_id}.")
        await self._drafts.share(draft.quiz_id, owner, editors)
        _log.info("quiz shared", quiz_id=draft.quiz_id, owner=owner, editors=editors, actor=claims.user_id)


def require_editor(claims: Claims, draft: Draft) -> None:
    """Raise PERMISSION_DENIED if the caller may not edit a quiz."""
    if not draft.is_edited_by(claims):
        raise ServiceError(Reason.PERMISSION_DENIED, _NOT_YOURS)


def require_owner(claims: Claims, draft: Draft) -> None:
    """Raise PERMISSION_DENIED if the caller does not own a quiz."""
    if not draft.is_owned_by(claims):
        raise ServiceError(Reason.PERMISSION_DENIED, "Only the owner of the quiz may do this.")
