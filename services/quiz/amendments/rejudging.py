"""Judging recorded actions again, after an author changed the answer key, the points or the scoring of a quiz."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
import uuid_utils

from services.quiz.amendments.amendment import Amendment, key_of
from services.quiz.questions.answers import AnswerError
from services.quiz.quizzes.quiz import judged_again_by
from services.quiz.quizzes.scoring import Tally, mark, tally_of
from services.quiz.submissions.recorder import CONFLICTS_EXCEEDED, MAX_CONFLICTS
from services.quiz.submissions.submission import TakenError
from services.runtime.errors import Reason, ServiceError
from services.runtime.outbox import UnpublishedEvent
from services.streams import ACTION_REJUDGED

if TYPE_CHECKING:
    from services.quiz.quizzes.delivery_store import DeliveryStore
    from services.quiz.quizzes.quiz import Quiz
    from services.quiz.quizzes.quiz_cache import QuizCache
    from services.quiz.submissions.store import History, SubmissionStore
    from services.quiz.submissions.submission import Submission
    from services.runtime.outbox import Outbox

# Players whose records are read and changed together, and told of at once.
GROUP: Final = 200
_MILLISECOND: Final = timedelta(milliseconds=1)
_log = structlog.get_logger("rejudging")


class PlayerChange(NamedTuple):
    """What a player's attempts at the quiz counted for, and what they count for now.

    A dry run has the places among the players of the quiz as well; equal points share a place.
    """

    user_id: str
    before: int
    after: int
    place_before: int = 0
    place_after: int = 0


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

        Actions are looked at first, then changed, in groups of players. Raises QUIZ_NOT_FOUND, UNAVAILABLE.
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
        places = _Places(await self._store.counted(quiz_id)) if dry_run else None
        players = list(changes)
        for start in range(0, len(players), GROUP):
            group = {user_id: changes[user_id] for user_id in players[start : start + GROUP]}
            progress.players = await self._settle(quiz, group, reason, actor, progress, dry_run=dry_run)
            if places is not None:
                places.change(progress.players)
            else:
                yield progress
            progress = replace(progress, players=[])
        if places is not None:
            told = places.changes()
            for start in range(0, len(told), GROUP):
                yield replace(progress, players=told[start : start + GROUP])
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
        self,
        quiz: Quiz,
        group: Mapping[str, Sequence[_Judged]],
        reason: str,
        actor: str,
        progress: Progress,
        *,
        dry_run: bool,
    ) -> list[PlayerChange]:
        """Change the actions of players; return the players for whom something else counts now. Raises UNAVAILABLE."""
        found = await self._store.histories(list(group), quiz.quiz_id)
        # Of an erased player there is nothing.
        group = {user_id: actions for user_id, actions in group.items() if user_id in found}
        before = {user_id: found[user_id].last.counted for user_id in group}
        changed = {
            user_id: [each for each in actions if found[user_id].points.get(each.event_id) != each.points]
            for user_id, actions in group.items()
        }
        progress.changed += sum(map(len, changed.values()))
        if dry_run:
            after = {user_id: _judged_tally(quiz, found[user_id], changed[user_id]).counted for user_id in group}
        else:
            after = before | await self._amend(quiz, changed, reason, actor)
        return [PlayerChange(each, before[each], after[each]) for each in group if before[each] != after[each]]

    async def _amend(
        self, quiz: Quiz, group: Mapping[str, Sequence[_Judged]], reason: str, actor: str
    ) -> dict[str, int]:
        """Record that actions were judged again, each once for each version, one of each player in an insert.

        Returns what counts for each player whose actions changed. Raises UNAVAILABLE.
        """
        waiting = {user_id: deque(actions) for user_id, actions in group.items() if actions}
        counted: dict[str, int] = {}
        conflicts = 0
        while waiting:
            identity, recorded_on = self._store.identity, self._outbox.recorded_on
            found = await self._store.histories(list(waiting), quiz.quiz_id)
            amendments: list[Amendment] = []
            for user_id, actions in list(waiting.items()):
                history = found.get(user_id)
                if history is None:  # erased meanwhile
                    del waiting[user_id]
                    continue
                counted[user_id] = history.last.counted
                while actions and _key(quiz, actions[0]) in history.amendments:
                    actions.popleft()
                if actions:
                    amendments.append(self._amendment(quiz, user_id, actions[0], history, reason, actor))
                else:
                    del waiting[user_id]
            failures = await self._store.amend_all(amendments, self._now() + self._outbox.lease, identity)
            recorded: list[UnpublishedEvent] = []
            for each, failure in zip(amendments, failures, strict=True):
                if failure is None:
                    counted[each.user_id] = each.tally.counted
                    waiting[each.user_id].popleft()
                    recorded.append(UnpublishedEvent(each.event_id, each.user_id, each.event(), recorded_on))
                elif not isinstance(failure, TakenError):
                    raise failure
            waiting = {user_id: actions for user_id, actions in waiting.items() if actions}
            self._outbox.publish(*recorded)
            conflicts = 0 if recorded else conflicts + 1
            if conflicts >= MAX_CONFLICTS:
                raise ServiceError(Reason.UNAVAILABLE, CONFLICTS_EXCEEDED)
        return counted

    def _amendment(
        self, quiz: Quiz, user_id: str, action: _Judged, history: History, reason: str, actor: str
    ) -> Amendment:
        after = _judged_tally(quiz, history, [action])
        return Amendment(
            kind=ACTION_REJUDGED,
            event_id=str(uuid_utils.uuid7()),
            user_id=user_id,
            action_id=f"{quiz.version}:{action.action_id}",
            quiz_id=quiz.quiz_id,
            tally=after,
            delta=after.counted - history.last.counted,
            voids=action.event_id,
            actor=actor,
            reason=reason,
            counts_at=action.received_at,
            received_at=self._now(),
            points=action.points,
            quiz_version=quiz.version,
        )


class _Places:
    """The places of the players of a quiz before and after a change, by what counts; equal points share a place."""

    def __init__(self, counted: Mapping[str, int]) -> None:
        self._before = counted
        self._changes: list[PlayerChange] = []

    def change(self, changes: Sequence[PlayerChange]) -> None:
        """Note what would count for players."""
        self._changes += changes

    def changes(self) -> list[PlayerChange]:
        """Return the changes with the places of their players."""
        after = dict(self._before) | {each.user_id: each.after for each in self._changes}
        old, new = sorted(self._before.values()), sorted(after.values())
        return [
            each._replace(place_before=_place(old, each.before), place_after=_place(new, each.after))
            for each in self._changes
        ]


def _place(ordered: Sequence[int], points: int) -> int:
    """Return 1 and how many have more points, of which `ordered` has the lowest first."""
    return len(ordered) - bisect_right(ordered, points) + 1


def _key(quiz: Quiz, action: _Judged) -> str:
    return key_of(ACTION_REJUDGED, f"{quiz.version}:{action.action_id}")


def _judged_tally(quiz: Quiz, history: History, actions: Sequence[_Judged]) -> Tally:
    """Return the tally of a player after actions are judged again."""
    points = history.points | {action.event_id: action.points for action in actions}
    return _tally(quiz, history.last, points, history.voided)


def _tally(quiz: Quiz, before: Tally, points: Mapping[str, int], voided: Collection[str]) -> Tally:
    """Return the tally after a change that leaves a player's attempts with these points, in order."""
    valid = [earned for event_id, earned in points.items() if event_id not in voided]
    return tally_of(quiz.counting, before, valid)
