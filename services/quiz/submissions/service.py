"""The use cases of actions: submit one or a group, audit the record of all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from services.quiz.config import Window
from services.quiz.quizzes.quiz import Quiz
from services.quiz.submissions.action import (
    Action,
    Outcome,
    PendingAction,
    attempt_closed,
    blocked,
    judge_report,
    judge_submission,
)
from services.quiz.submissions.recorder import Recorder
from services.quiz.submissions.submission import Submission, SubmittedEvent
from services.runtime.batcher import Batcher
from services.runtime.errors import Reason, ServiceError

if TYPE_CHECKING:
    from services.quiz.action_types.action_type import ActionType
    from services.quiz.action_types.store import ActionTypeStore
    from services.quiz.attempts.attempt_store import AttemptStore
    from services.quiz.player_lookup import Player, PlayerLookup
    from services.quiz.quizzes.delivery_store import DeliveryStore
    from services.quiz.quizzes.quiz_cache import QuizCache
    from services.quiz.submissions.reviews import Reviews
    from services.quiz.submissions.store import SubmissionStore
    from services.runtime.outbox.publishing import Outbox

MAX_GROUP: Final = 200
# Groups of single actions at a time: quick ones follow one another, and one that waits for a store holds up no other for long.
MAX_GROUPS: Final = 4
# After a group of many, the next one waits a little for the players who have just had their response.
PATIENCE_SECONDS: Final = 0.25
MANY: Final = 16
LINGER: Final = 3.0  # times as long as the group took: the players' own programs take longer
T = TypeVar("T")
SeenVersion = tuple[str, int, bool]
"""A quiz, its version, and whether that is judged however long ago it was replaced."""


class SubmissionService:
    """Scores and records actions, in groups: stores are asked once for all actions of a group."""

    def __init__(
        self,
        store: SubmissionStore,
        cache: QuizCache,
        action_types: ActionTypeStore,
        attempts: AttemptStore,
        outbox: Outbox,
        players: PlayerLookup,
        deliveries: DeliveryStore,
        reviews: Reviews,
        *,
        window: Window,
        version_grace: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._cache = cache
        self._action_types = action_types
        self._attempts = attempts
        self._outbox = outbox
        self._recorder = Recorder(store, outbox, now=now)
        self._players = players
        self._deliveries = deliveries
        self._reviews = reviews
        self._window = window
        self._version_grace = version_grace
        self._now = now
        self._gather: Batcher[PendingAction, tuple[Submission, bool]] = Batcher(
            "actions",
            self._settle,
            max_size=MAX_GROUP,
            max_concurrent=MAX_GROUPS,
            patience=PATIENCE_SECONDS,
            many=MANY,
            linger=LINGER,
        )

    async def submit_action(self, action: Action) -> tuple[Submission, bool]:
        """Score and record an action; return the record, and whether it existed before this call.

        Idempotent by (user, action id): the same payload always returns the first record, another payload raises
        ACTION_ID_CONFLICT. A refused action is not recorded. Raises QUIZ_NOT_FOUND, QUIZ_CHANGED, QUIZ_CLOSED,
        ATTEMPTS_EXHAUSTED, ATTEMPT_REQUIRED, ATTEMPT_CLOSED, ATTEMPT_TOO_SOON, TIMESTAMP_OUT_OF_WINDOW, INVALID_ARGUMENT,
        PLAYER_BLOCKED, UNAUTHENTICATED; UNAVAILABLE if it is unknown whether the action was recorded, in which case sending
        it again is safe and settles it.
        """
        return await self._gather(PendingAction(action, self._now()))

    async def submit_actions(self, actions: Sequence[Action]) -> list[Outcome]:
        """Submit up to 500 actions and return the outcome of each, which is that of `submit_action`.

        Actions of one player are recorded in this order. Those of action types may also be refused with
        ACTION_TYPE_NOT_FOUND, ACTION_TYPE_CLOSED, LIMIT_REACHED, PERMISSION_DENIED and PLAYER_NOT_FOUND.
        """
        received_at = self._now()
        return await self._settle([PendingAction(action, received_at) for action in actions])

    async def publish_again(self, event_ids: Collection[str]) -> None:
        """Publish recorded events once more, at once. Each still counts once. Raises UNAVAILABLE."""
        self._outbox.publish(*await self._store.again(event_ids, self._outbox.recorded_on))

    async def attempts_used(self, user_id: str, quiz_id: str) -> int:
        """Return how many attempts at a quiz a player has used. Raises UNAVAILABLE."""
        return (await self._store.last_tally(user_id, quiz_id)).used

    async def recorded(self, keys: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Submission]:
        """Return the existing ones of these records, by player and action id. Raises UNAVAILABLE."""
        return await self._store.submissions(keys) if keys else {}

    def forget(self) -> None:
        """Drop the cached tallies: the store has other records."""
        self._recorder.forget()

    async def submitted_events(self, since: datetime | None) -> AsyncIterator[tuple[list[SubmittedEvent], int]]:
        """Yield the events of all records, or those made since a time, oldest first, up to 500 at a time.

        With each page comes the estimated number of all records.

        Raises UNAVAILABLE.
        """
        total = await self._store.count()
        async for page in self._store.submitted_events(since):
            yield page, total

    async def oldest_unpublished(self) -> datetime | None:
        """Return when the oldest unpublished event was recorded; None if all are published. Raises UNAVAILABLE."""
        return await self._store.outbox.oldest_unpublished()

    async def _settle(self, group: Sequence[PendingAction]) -> list[Outcome]:
        """Return the outcome of each action of a group. Raises nothing: an error is an outcome."""
        try:
            if group:
                await self._judge(group)
            await self._recorder.record(group)
            await self._recorder.replay_refused(group)
            await self._end_attempts(group)
            await self._tell(group)
        except Exception as error:  # noqa: BLE001  # the outcome of every action that has none yet
            for each in group:
                each.outcome = each.outcome or error
        assert all(each.outcome is not None for each in group)
        return [each.outcome for each in group if each.outcome is not None]

    async def _judge(self, group: Sequence[PendingAction]) -> None:
        """Refuse what needs no record to be refused, and give the others their terms and marks."""
        await self._find_attempts(group)
        submissions = [each for each in group if each.action.report is None and each.outcome is None]
        players, deliveries, quizzes, action_types, _ = await asyncio.gather(
            self._players.players({each.action.user_id for each in group}),
            self._deliveries.first({each.tally_key for each in submissions if each.attempt is None}),
            self._quizzes({_seen_by(each) for each in submissions}),
            self._types({each.action.report.action_type_id for each in group if each.action.report is not None}),
            self._recorder.read_ahead(each.tally_key for each in group),
        )
        for each in group:
            if each.outcome is not None:
                continue
            try:
                self._judge_player(each, players[each.action.user_id])
                report = each.action.report
                if report is None:
                    current, seen = _found(quizzes[_seen_by(each)])
                    seen = each.action.room_quiz or seen
                    if each.action.room_quiz is None:
                        started_at = each.attempt.started_at if each.attempt else None
                        each.delivered_at = started_at or deliveries.get(each.tally_key)
                    judge_submission(each, current, seen, self._window)
                else:
                    judge_report(each, report, _found(action_types[report.action_type_id]), self._window)
            except Exception as error:  # noqa: BLE001  # the outcome of this action alone
                each.outcome = error

    async def _find_attempts(self, group: Sequence[PendingAction]) -> None:
        """Give each action its attempt, or refuse it: the attempt is not open, or cannot be read."""
        wanted = [each for each in group if each.action.attempt_id]
        if not wanted:
            return
        try:
            attempts = await self._attempts.attempts({each.action.attempt_id for each in wanted})
        except ServiceError as error:
            for each in wanted:
                each.outcome = error
            return
        for each in wanted:
            attempt = attempts.get(each.action.attempt_id)
            if attempt is None or (attempt.user_id, attempt.quiz_id) != each.tally_key:
                each.outcome = attempt_closed()
            else:
                each.attempt = attempt

    async def _end_attempts(self, group: Sequence[PendingAction]) -> None:
        """Remove the attempts that are recorded. What is left of them until then is found when their time is up."""
        recorded = [each.attempt.attempt_id for each in group if each.attempt and isinstance(each.outcome, tuple)]
        if recorded:
            with suppress(ServiceError):
                await self._attempts.remove(recorded)

    def _judge_player(self, each: PendingAction, player: Player) -> None:
        is_caller = each.action.report is None or not each.action.report.actor
        if is_caller and player.is_erased:
            raise ServiceError(Reason.UNAUTHENTICATED, "The account was deleted.")
        if not is_caller:
            if player.missing is not None:
                raise player.missing
            each.country = player.country
        if player.block is not None:
            raise blocked(player.block, is_caller=is_caller)

    async def _tell(self, group: Sequence[PendingAction]) -> None:
        """Add to each record what its player may know of single questions."""
        for each in group:
            if isinstance(each.outcome, tuple):
                submission, is_duplicate = each.outcome
                each.outcome = await self._reviews.told(submission), is_duplicate

    async def _quizzes(self, versions: Iterable[SeenVersion]) -> Mapping[SeenVersion, tuple[Quiz, Quiz] | Exception]:
        """Return by quiz and version the current quiz and that version; version 0 is the current one."""
        quizzes: dict[SeenVersion, tuple[Quiz, Quiz] | Exception] = {}
        for key in versions:  # nearly always in memory
            quiz_id, version, always = key
            try:
                current = await self._cache.quiz(quiz_id)
                if version > current.version:  # another instance has imported it
                    current = await self._cache.fresh(quiz_id)
                is_current = version in (0, current.version)
                quizzes[key] = current, current if is_current else await self._seen(current, version, always=always)
            except ServiceError as error:
                quizzes[key] = error
        return quizzes

    async def _seen(self, current: Quiz, version: int, *, always: bool) -> Quiz:
        """Return a version of a quiz that was replaced. Raises QUIZ_CHANGED unless it may still be answered, or always."""
        replaced = await self._cache.replaced(current.quiz_id, version)
        if replaced is None or (not always and self._now() - replaced.at > self._version_grace):
            raise ServiceError(
                Reason.QUIZ_CHANGED,
                "The quiz was changed after you loaded it. Load it again; no attempt was used.",
                version=current.version,
            )
        return replaced.quiz

    async def _types(self, action_type_ids: Collection[str]) -> Mapping[str, ActionType | ServiceError]:
        if not action_type_ids:
            return {}
        try:
            types = await self._action_types.current(action_type_ids)
        except ServiceError as error:
            return dict.fromkeys(action_type_ids, error)
        missing = ServiceError(Reason.ACTION_TYPE_NOT_FOUND, "No action type has this ID.")
        return {action_type_id: types.get(action_type_id, missing) for action_type_id in action_type_ids}


def _seen_by(each: PendingAction) -> SeenVersion:
    """Return the version that a player saw. That of a timed attempt is judged until its time is up."""
    attempt = each.attempt
    if attempt is not None:
        return attempt.quiz_id, attempt.version, attempt.is_timed
    # That of a room comes with the action; the current one has the terms.
    return each.action.quiz_id, 0 if each.action.room_quiz is not None else each.action.quiz_version, False


def _found(definition: T | Exception) -> T:
    if isinstance(definition, Exception):
        raise definition
    return definition
