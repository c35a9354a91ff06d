"""The use cases of moderators, and of whoever repairs: taking actions back, adjusting scores, publishing once more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import structlog
import uuid_utils

from services.quiz.amendment import ACTION_VOIDED, SCORE_ADJUSTED, Amendment, key_of
from services.quiz.scoring import tally_of
from services.quiz.service import MAX_RACES, TOO_MANY_AT_ONCE
from services.quiz.submission import TakenError
from services.runtime.errors import Reason, ServiceError
from services.runtime.outbox import WaitingEvent

if TYPE_CHECKING:
    from services.quiz.cache import QuizCache
    from services.quiz.players import Players
    from services.quiz.store import QuizStore
    from services.runtime.outbox import Outbox

_log = structlog.get_logger("moderation")


class Moderation:
    """Every method may be called again with the same arguments: what is recorded is answered as it was."""

    def __init__(
        self,
        store: QuizStore,
        cache: QuizCache,
        outbox: Outbox,
        players: Players,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._cache = cache
        self._outbox = outbox
        self._players = players
        self._now = now

    async def void_action(self, user_id: str, action_id: str, reason: str, *, actor: str) -> tuple[Amendment, bool]:
        """Take a recorded action back; the record, and whether it was voided before this call.

        What counts of the player's attempts at the quiz is what it would be without this one, by the counting that is in
        force now; the attempt stays used. Raises ACTION_NOT_FOUND, UNAVAILABLE; sending it again is safe.
        """
        received_at = self._now()
        for _ in range(MAX_RACES):
            recorded = await self._store.amendment(user_id, key_of(ACTION_VOIDED, action_id))
            if recorded is not None:
                return recorded, True
            submission = await self._store.submission(user_id, action_id)
            if submission is None:
                raise ServiceError(Reason.ACTION_NOT_FOUND, "The player has no such action.")
            quiz = await self._cache.quiz(submission.quiz_id)
            if quiz is None:
                raise ServiceError(Reason.QUIZ_NOT_FOUND, "The quiz of this action is gone.")
            before = await self._store.last_tally(user_id, submission.quiz_id)
            attempts, voided = await self._store.attempts(user_id, submission.quiz_id)
            gone = voided | {submission.event_id}
            after = tally_of(quiz.counting, before, [points for event_id, points in attempts if event_id not in gone])
            amendment = Amendment(
                kind=ACTION_VOIDED,
                event_id=str(uuid_utils.uuid7()),
                user_id=user_id,
                action_id=action_id,
                quiz_id=submission.quiz_id,
                tally=after,
                delta=after.counted - before.counted,
                voids=submission.event_id,
                actor=actor,
                reason=reason,
                counts_at=submission.received_at,
                received_at=received_at,
            )
            with suppress(TakenError):
                await self._amend(amendment)
                return amendment, False
        raise ServiceError(Reason.UNAVAILABLE, TOO_MANY_AT_ONCE)

    async def adjust_score(
        self, user_id: str, delta: int, reason: str, action_id: str, *, actor: str
    ) -> tuple[Amendment, bool]:
        """Change a player's score by `delta`; the record, and whether it was recorded before this call.

        Idempotent by (user, action id): another delta under the same id is ACTION_ID_CONFLICT. Raises PLAYER_NOT_FOUND,
        UNAVAILABLE; sending it again is safe.
        """
        received_at = self._now()
        for _ in range(MAX_RACES):
            recorded = await self._store.amendment(user_id, key_of(SCORE_ADJUSTED, action_id))
            if recorded is not None:
                if recorded.delta != delta:
                    raise ServiceError(Reason.ACTION_ID_CONFLICT, "This action id was used before for other points.")
                return recorded, True
            player = await self._players.find(user_id)
            if player is None:
                raise ServiceError(Reason.PLAYER_NOT_FOUND, "No player has this id.")
            before = await self._store.last_tally(user_id, "")
            amendment = Amendment(
                kind=SCORE_ADJUSTED,
                event_id=str(uuid_utils.uuid7()),
                user_id=user_id,
                action_id=action_id,
                quiz_id="",
                tally=replace(before, place=before.place + 1),
                delta=delta,
                voids="",
                actor=actor,
                reason=reason,
                counts_at=received_at,
                received_at=received_at,
                country=player.country,
            )
            with suppress(TakenError):
                await self._amend(amendment)
                return amendment, False
        raise ServiceError(Reason.UNAVAILABLE, TOO_MANY_AT_ONCE)

    async def republish(self, event_ids: Sequence[str], *, only_check: bool) -> list[str]:
        """Those of the ids that are events on record here; unless `only_check`, they are published once more."""
        recorded = await self._store.recorded(event_ids)
        if recorded and not only_check:
            await self._store.republish(recorded, self._now())
        return recorded

    async def _amend(self, amendment: Amendment) -> None:
        try:
            await self._store.amend(amendment, self._now() + self._outbox.lease)
        except ServiceError:
            recorded = await self._store.amendment(amendment.user_id, amendment.key)
            if recorded is None or recorded.event_id != amendment.event_id:
                raise
        _log.info("amended", kind=amendment.kind, user_id=amendment.user_id, delta=amendment.delta, by=amendment.actor)
        self._outbox.publish(WaitingEvent(amendment.event_id, amendment.user_id, amendment.event()))
