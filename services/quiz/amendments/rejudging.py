"""Judging recorded actions again, after an author changed the answer key, the points or the scoring of a quiz."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
import uuid_utils

from services.quiz.amendments.amendment import Amendment, key_of
from services.quiz.amendments.places import Places, PlayerChange
from services.quiz.amendments.reach import Reach
from services.quiz.questions.answers import AnswerError
from services.quiz.quizzes.quiz import judged_again_by
from services.quiz.quizzes.scoring import Tally, mark, tally_of
from services.quiz.submissions.recorder import CONFLICTS_EXCEEDED, MAX_CONFLICTS
from services.quiz.submissions.submission import TakenError
from services.runtime.errors import Reason, ServiceError
from services.runtime.outbox.publishing import UnpublishedEvent
from services.streams import ACTION_REJUDGED

if TYPE_CHECKING:
    from services.quiz.quizzes.delivery_store import DeliveryStore
    from services.quiz.quizzes.quiz import Quiz
    from services.quiz.quizzes.quiz_cache import QuizCache
    from services.quiz.submissions.store import History, SubmissionStore
    from services.quiz.submissions.submission import Submission
    from services.runtime.outbox.publishing import Outbox
    from services.runtime.stores.data_identity import DataIdentity

# Actions in a page, and players whose records are read and changed together, and told of at once.
GROUP: Final = 200
_MILLISECOND: Final = timedelta(milliseconds=1)
_log = structlog.get_logger("rejudging")


@dataclass(slots=True)
class Progress:
    """How far it is: actions looked at, those whose points change, and the players settled since the last one.

    `reach` is where the changes of all players so far act.
    """

    version: int
    actions: int = 0
    changed: int = 0
    players: list[PlayerChange] = field(default_factory=list)
    reach: Reach = field(default_factory=Reach)


class _Read(NamedTuple):
    """The histories of players, and the data they were read from, which a record that continues one of them states."""

    identity: DataIdentity
    recorded_on: str
    histories: dict[str, History]


class _Judged(NamedTuple):
    """An action whose points change."""

    event_id: str
    action_id: str
    received_at: datetime
    points: int
    tags: tuple[str, ...]
    country: str


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

        One page of actions after the other is looked at and changed, so that what is held does not grow with the quiz. A dry
        run looks twice: places are known once all changes are. Raises QUIZ_NOT_FOUND, UNAVAILABLE.
        """
        quiz = await self._cache.fresh(quiz_id)
        progress = Progress(quiz.version)
        if dry_run:
            places = Places(await self._store.players_by_points(quiz_id))
            async for group in self._groups(quiz, progress):
                places.change(await self._would_change(quiz, group, progress))
                yield progress
            async for group in self._groups(quiz, Progress(quiz.version)):
                changes = await self._would_change(quiz, group, Progress(quiz.version))
                yield replace(progress, players=places.told(changes))
        else:
            async for group in self._groups(quiz, progress):
                yield replace(progress, players=await self._change(quiz, group, reason, actor, progress))
            _log.info("quiz judged again", quiz_id=quiz_id, version=quiz.version, changed=progress.changed, actor=actor)
        yield progress

    async def _groups(self, quiz: Quiz, progress: Progress) -> AsyncIterator[dict[str, list[_Judged]]]:
        """Yield the actions that the current version judges, by player; what it has seen of a player is all or nothing.

        At most GROUP players are held, and a page of actions. Counts the actions in `progress`.
        """
        group: dict[str, list[_Judged]] = {}
        async for page in self._store.at_quiz(quiz.quiz_id, GROUP):
            progress.actions += len(page)
            for submission, elapsed in await self._timed(quiz, page):
                if judged := await self._judged(quiz, submission, elapsed):
                    group.setdefault(submission.user_id, []).append(judged)
            last = page[-1].user_id  # the next page may have more of them
            unfinished = {last: group.pop(last)} if last in group else {}
            yield group
            group = unfinished
        yield group

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
        seen_as = (submission.event_id, submission.action_id, submission.received_at)
        return _Judged(*seen_as, points, submission.tags, submission.country)

    async def _would_change(
        self, quiz: Quiz, group: Mapping[str, Sequence[_Judged]], progress: Progress
    ) -> list[PlayerChange]:
        """Return the players for whom something else would count. Counts the actions in `progress`. Raises UNAVAILABLE."""
        read = await self._read(quiz, group)
        found = read.histories
        changed = _changed(group, found, progress)
        after = {each: _judged_tally(quiz, found[each], actions).counted for each, actions in changed.items()}
        return _changes(found, after)

    async def _change(
        self, quiz: Quiz, group: Mapping[str, Sequence[_Judged]], reason: str, actor: str, progress: Progress
    ) -> list[PlayerChange]:
        """Change actions; return the players for whom something else counts now. Raises UNAVAILABLE."""
        read = await self._read(quiz, group)
        changed = _changed(group, read.histories, progress)
        return _changes(read.histories, await self._amend(quiz, changed, read, reason, actor))

    async def _read(self, quiz: Quiz, user_ids: Collection[str]) -> _Read:
        """Return the histories of players, by player, without erased players. Raises UNAVAILABLE."""
        identity, recorded_on = self._store.identity, self._outbox.recorded_on  # of the moment before the read
        histories = await self._store.histories(list(user_ids), quiz.quiz_id) if user_ids else {}
        return _Read(identity, recorded_on, histories)

    async def _amend(
        self, quiz: Quiz, group: Mapping[str, Sequence[_Judged]], read: _Read, reason: str, actor: str
    ) -> dict[str, int]:
        """Record that actions were judged again, each once for each version, one of each player in an insert.

        The first insert continues what was `read`. If a player has done something since, theirs is refused and, like their
        further actions, continues what is read again. Returns the points that count for each player whose actions changed.
        Raises UNAVAILABLE.
        """
        waiting = {user_id: deque(actions) for user_id, actions in group.items()}
        counted: dict[str, int] = {}
        conflicts = 0
        while waiting:
            amendments: list[Amendment] = []
            for user_id, actions in list(waiting.items()):
                history = read.histories.get(user_id)
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
            failures = await self._store.amend_all(amendments, self._now() + self._outbox.lease, read.identity)
            recorded: list[UnpublishedEvent] = []
            for each, failure in zip(amendments, failures, strict=True):
                if failure is None:
                    counted[each.user_id] = each.tally.counted
                    waiting[each.user_id].popleft()
                    recorded.append(UnpublishedEvent(each.event_id, each.user_id, each.event(), read.recorded_on))
                elif not isinstance(failure, TakenError):
                    raise failure
            waiting = {user_id: actions for user_id, actions in waiting.items() if actions}
            self._outbox.publish(*recorded)
            conflicts = 0 if recorded else conflicts + 1
            if conflicts >= MAX_CONFLICTS:
                raise ServiceError(Reason.UNAVAILABLE, CONFLICTS_EXCEEDED)
            if waiting:
                read = await self._read(quiz, waiting)
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
            tags=action.tags,
        )


def _changed(
    group: Mapping[str, Sequence[_Judged]], found: Mapping[str, History], progress: Progress
) -> dict[str, list[_Judged]]:
    """Return the actions whose points change, by player. Counts them in `progress`."""
    changed: dict[str, list[_Judged]] = {}
    for user_id, history in found.items():
        if actions := [each for each in group[user_id] if history.points.get(each.event_id) != each.points]:
            changed[user_id] = actions
            progress.changed += len(actions)
            for each in actions:
                progress.reach.add(each.received_at, each.tags, each.country)
    return changed


def _changes(found: Mapping[str, History], after: Mapping[str, int]) -> list[PlayerChange]:
    """Return the players whose counting points change, given what counts for those whose actions change."""
    return [
        PlayerChange(user_id, found[user_id].last.counted, counted)
        for user_id, counted in after.items()
        if counted != found[user_id].last.counted
    ]


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
