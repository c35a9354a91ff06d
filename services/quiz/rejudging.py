"""Judging recorded actions again, after an author changed the answer key, the points or the scoring of a quiz."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
import uuid_utils

from services.quiz.amendment import Amendment, key_of
from services.quiz.questions.answers import AnswerError
from services.quiz.quiz import judged_again_by
from services.quiz.recorder import CONFLICTS_EXCEEDED, MAX_CONFLICTS
from services.quiz.scoring import Tally, mark, tally_of
from services.quiz.submission import TakenError
from services.runtime.errors import Reason, ServiceError
from services.runtime.outbox import UnpublishedEvent
from services.streams import ACTION_REJUDGED

if TYPE_CHECKING:
    from services.quiz.delivery_store import DeliveryStore
    from services.quiz.quiz import Quiz
    from services.quiz.quiz_cache import QuizCache
    from services.quiz.submission import Submission
    from services.quiz.submission_store import SubmissionStore
    from services.runtime.outbox import Outbox

# How many players' changes are told at once.
PAGE: Final = 100
_MILLISECOND: Final = timedelta(milliseconds=1)
_log = structlog.get_logger("rejudging")


class PlayerChange(NamedTuple):
    """What a player's attempts at the quiz counted for, and what they count for now."""

    user_id: str
    before: int
    after: int


@dataclass(slots=True)
class Progress:
    """How far it is: actions looked at, those whose points change, and the players settled since the last one."""

    version: int
    actions: int = 0
    changed: int = 0
    players: list[PlayerChange] = field(default_factory=list)


class _Judged(NamedTuple):
    """An action whose points change."""

    event_id: str
    action_id: str
    received_at: datetime
    points: int


class Rejudging:
    """Safe to repeat, also after a crash in the middle: an action is judged again once by each version of the quiz."""

    def __init__(
        self,
        store: SubmissionStore,
        cache: QuizCache,
        deliveries: DeliveryStore,
        outbox: Outbox,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._cache = cache
        self._deliveries = deliveries
        self._outbox = outbox
        self._now = now

    async def rejudge(self, quiz_id: str, reason: str, *, actor: str, dry_run: bool) -> AsyncIterator[Progress]:
        """Judge all actions at a quiz again by its current version, and yield how far it is, at the end the result.

        Actions are looked at first, then changed player by player. Raises QUIZ_NOT_FOUND, UNAVAILABLE.
        """
        quiz = await self._cache.fresh(quiz_id)
        progress = Progress(quiz.version)
        changes: dict[str, list[_Judged]] = defaultdict(list)
        async for page in self._store.at_quiz(quiz_id):
            progress.actions += len(page)
            for submission, elapsed in await self._timed(quiz, page):
                if judged := await self._judged(quiz, submission, elapsed):
                    changes[submission.user_id].append(judged)
            yield replace(progress, players=[])
        for user_id, actions in changes.items():
            before, after, changed = await self._settle(quiz, user_id, actions, reason, actor, dry_run=dry_run)
            progress.changed += changed
            if before != after:
                progress.players.append(PlayerChange(user_id, before, after))
            if len(progress.players) >= PAGE:
                yield progress
                progress = replace(progress, players=[])
        if not dry_run:
            _log.info("quiz judged again", quiz_id=quiz_id, version=quiz.version, changed=progress.changed, actor=actor)
        yield progress

    async def _timed(self, quiz: Quiz, page: Sequence[Submission]) -> list[tuple[Submission, int | None]]:
        """Return actions with the milliseconds that they took, as far as the quiz asks for them and they are known."""
        if not quiz.rules.time_limit_ms:
            return [(submission, None) for submission in page]
        first = await self._deliveries.first({(submission.user_id, quiz.quiz_id) for submission in page})
        timed: list[tuple[Submission, int | None]] = []
        for submission in page:
            at = first.get((submission.user_id, quiz.quiz_id))
            elapsed = None if at is None else (submission.received_at - at) // _MILLISECOND
            timed.append((submission, elapsed if submission.elapsed_ms is None else submission.elapsed_ms))
        return timed

    async def _judged(self, quiz: Quiz, submission: Submission, elapsed: int | None) -> _Judged | None:
        """Return an action with its points by the current version; None for one that it cannot or need not judge."""
        if submission.version in (0, quiz.version):
            return None
        seen = await self._cache.replaced(quiz.quiz_id, submission.version)
        if seen is None:
            return None  # the version is not kept
        try:
            points = mark(judged_again_by(quiz, seen.quiz), submission.answers, elapsed).points
        except AnswerError:
            return None  # the answers of an erased player
        return _Judged(submission.event_id, submission.action_id, submission.received_at, points)

    async def _settle(
        self, quiz: Quiz, user_id: str, actions: list[_Judged], reason: str, actor: str, *, dry_run: bool
    ) -> tuple[int, int, int]:
        """Change a player's actions one by one; return what counted before and after, and how many changed."""
        attempts, voided = await self._store.attempts(user_id, quiz.quiz_id)
        points = dict(attempts)
        changed = [action for action in actions if points.get(action.event_id) != action.points]
        first = last = await self._store.last_tally(user_id, quiz.quiz_id)
        if dry_run:
            points |= {action.event_id: action.points for action in changed}
            return first.counted, _tally(quiz, first, points, voided).counted, len(changed)
        for action in changed:
            last = (await self._amend(quiz, user_id, action, reason, actor)).tally
        return first.counted, last.counted, len(changed)

    async def _amend(self, quiz: Quiz, user_id: str, action: _Judged, reason: str, actor: str) -> Amendment:
        """Record that an action was judged again, once for each version. Raises UNAVAILABLE."""
        action_id = f"{quiz.version}:{action.action_id}"
        key = key_of(ACTION_REJUDGED, action_id)
        for _ in range(MAX_CONFLICTS):
            recorded = await self._store.amendment(user_id, key)
            if recorded is not None:
                return recorded
            identity, recorded_on = self._store.identity, self._outbox.recorded_on
            before = await self._store.last_tally(user_id, quiz.quiz_id)
            attempts, voided = await self._store.attempts(user_id, quiz.quiz_id)
            after = _tally(quiz, before, dict(attempts) | {action.event_id: action.points}, voided)
            amendment = Amendment(
                kind=ACTION_REJUDGED,
                event_id=str(uuid_utils.uuid7()),
                user_id=user_id,
                action_id=action_id,
                quiz_id=quiz.quiz_id,
                tally=after,
                delta=after.counted - before.counted,
                voids=action.event_id,
                actor=actor,
                reason=reason,
                counts_at=action.received_at,
                received_at=self._now(),
                points=action.points,
                quiz_version=quiz.version,
            )
            with suppress(TakenError):
                await self._store.amend(amendment, self._now() + self._outbox.lease, identity)
                self._outbox.publish(UnpublishedEvent(amendment.event_id, user_id, amendment.event(), recorded_on))
                return amendment
        raise ServiceError(Reason.UNAVAILABLE, CONFLICTS_EXCEEDED)


def _tally(quiz: Quiz, before: Tally, points: Mapping[str, int], voided: Collection[str]) -> Tally:
    """Return the tally after a change that leaves a player's attempts with these points, in order."""
    valid = [earned for event_id, earned in points.items() if event_id not in voided]
    return tally_of(quiz.counting, before, valid)
