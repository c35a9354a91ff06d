"""The use cases of moderators and operators: void an action, adjust a score, publish events again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import structlog
import uuid_utils
from topten.quiz.v1 import quiz_pb2

from services.quiz.amendments.amendment import Amendment, key_of
from services.quiz.quizzes.scoring import Tally, tally_of
from services.quiz.submissions.recorder import CONFLICTS_EXCEEDED, MAX_CONFLICTS
from services.quiz.submissions.submission import TakenError
from services.runtime.errors import Reason, ServiceError
from services.runtime.outbox.publishing import UnpublishedEvent
from services.streams import ACTION_VOIDED, SCORE_ADJUSTED

if TYPE_CHECKING:
    from services.quiz.player_lookup import PlayerLookup
    from services.quiz.quizzes.quiz_cache import QuizCache
    from services.quiz.submissions.store import SubmissionStore
    from services.quiz.submissions.submission import Submission
    from services.runtime.outbox.publishing import Outbox
    from services.runtime.stores.data_identity import DataIdentity

_log = structlog.get_logger("moderation")


class Moderation:
    """Every method is safe to repeat: an amendment that is recorded is returned as it is."""

    def __init__(
        self,
        store: SubmissionStore,
        cache: QuizCache,
        outbox: Outbox,
        players: PlayerLookup,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._cache = cache
        self._outbox = outbox
        self._players = players
        self._now = now

    async def void_action(self, user_id: str, action_id: str, reason: str, *, actor: str) -> tuple[Amendment, bool]:
        """Void a recorded action; return the amendment, and whether it existed before this call.

        The player's other actions at the quiz or of the type then count as if this one had never happened, by the quiz's
        current rule; the action stays used. Raises ACTION_NOT_FOUND, QUIZ_NOT_FOUND, UNAVAILABLE.
        """
        received_at = self._now()
        for _ in range(MAX_CONFLICTS):
            recorded = await self._store.amendment(user_id, key_of(ACTION_VOIDED, action_id))
            if recorded is not None:
                return recorded, True
            submission = await self._store.submission(user_id, action_id)
            if submission is None:
                raise ServiceError(Reason.ACTION_NOT_FOUND, "The player has no action with this ID.")
            identity = self._store.identity
            before, after = await without_action(self._store, self._cache, submission)
            amendment = Amendment(
                kind=ACTION_VOIDED,
                event_id=str(uuid_utils.uuid7()),
                user_id=user_id,
                action_id=action_id,
                quiz_id=submission.quiz_id,
                action_type_id=submission.action_type_id,
                tally=after,
                delta=after.counted - before.counted,
                voids=submission.event_id,
                actor=actor,
                reason=reason,
                counts_at=submission.received_at,
                received_at=received_at,
                tags=submission.tags,
            )
            with suppress(TakenError):
                await self._amend(amendment, identity)
                return amendment, False
        raise ServiceError(Reason.UNAVAILABLE, CONFLICTS_EXCEEDED)

    async def adjust_score(
        self, user_id: str, delta: int, reason: str, action_id: str, *, actor: str
    ) -> tuple[Amendment, bool]:
        """Change a player's score by `delta`; return the amendment, and whether it existed before this call.

        Idempotent by (user, action id): another delta under the same id raises ACTION_ID_CONFLICT. Raises
        PLAYER_NOT_FOUND, UNAVAILABLE.
        """
        received_at = self._now()
        for _ in range(MAX_CONFLICTS):
            recorded = await self._store.amendment(user_id, key_of(SCORE_ADJUSTED, action_id))
            if recorded is not None:
                if recorded.delta != delta:
                    message = "This action ID was already used with another delta. Use a new one."
                    raise ServiceError(Reason.ACTION_ID_CONFLICT, message)
                return recorded, True
            player = await self._players.find(user_id)
            if player is None:
                raise ServiceError(Reason.PLAYER_NOT_FOUND, "No player has this ID.")
            identity = self._store.identity
            before = await self._store.last_tally(user_id, "")
            amendment = Amendment(
                kind=SCORE_ADJUSTED,
                event_id=str(uuid_utils.uuid7()),
                user_id=user_id,
                action_id=action_id,
                quiz_id="",
                tally=replace(before, sequence=before.sequence + 1),
                delta=delta,
                voids="",
                actor=actor,
                reason=reason,
                counts_at=received_at,
                received_at=received_at,
                country=player.country,
            )
            with suppress(TakenError):
                await self._amend(amendment, identity)
                return amendment, False
        raise ServiceError(Reason.UNAVAILABLE, CONFLICTS_EXCEEDED)

    async def republish(self, event_ids: Sequence[str], *, only_check: bool) -> list[str]:
        """Return the ids of events recorded here; unless `only_check`, publish those again. Raises UNAVAILABLE."""
        recorded = await self._store.recorded(event_ids)
        if recorded and not only_check:
            await self._store.republish(recorded, self._now())
        return recorded

    async def _amend(self, amendment: Amendment, identity: DataIdentity) -> None:
        recorded_on = self._outbox.recorded_on
        try:
            await self._store.amend(amendment, self._now() + self._outbox.lease, identity)
        except ServiceError:
            # The write may have happened: a majority read decides, and raises if that is unknown too.
            recorded = await self._store.amendment(amendment.user_id, amendment.key)
            if recorded is None or recorded.event_id != amendment.event_id:
                raise
        _log.info(
            "amendment recorded",
            kind=amendment.kind,
            user_id=amendment.user_id,
            delta=amendment.delta,
            actor=amendment.actor,
        )
        self._outbox.publish(UnpublishedEvent(amendment.event_id, amendment.user_id, amendment.event(), recorded_on))


async def without_action(store: SubmissionStore, cache: QuizCache, submission: Submission) -> tuple[Tally, Tally]:
    """Return the player's tally about the subject, and the tally after voiding this submission. Raises QUIZ_NOT_FOUND."""
    counting = quiz_pb2.COUNTING_SUM if submission.action_type_id else (await cache.quiz(submission.quiz_id)).counting
    before = await store.last_tally(submission.user_id, submission.subject)
    attempts, voided = await store.attempts(submission.user_id, submission.subject)
    excluded = voided | {submission.event_id}
    points = [points for event_id, points in attempts if event_id not in excluded]
    return before, tally_of(counting, before, points)
