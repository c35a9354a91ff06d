"""The use cases of attempts: start one, save its answers, tell where the player stands, and decide extra time."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from services.quiz.attempts.attempt import Attempt, started, time_limit
from services.quiz.attempts.extra_time import ExtraTime
from services.quiz.attempts.extra_time_store import Decision
from services.quiz.attempts.metrics import attempts_started
from services.quiz.questions.answers import Answer, AnswerError
from services.quiz.quizzes.scoring import judge
from services.quiz.quizzes.terms import terms_of
from services.quiz.submissions.action import attempt_closed, attempts_refused, blocked, mismatch
from services.runtime.clock import milliseconds_of
from services.runtime.errors import Reason, ServiceError

if TYPE_CHECKING:
    from services.quiz.attempts.attempt_store import AttemptStore
    from services.quiz.attempts.deadlines import AttemptDeadlines
    from services.quiz.attempts.extra_time_store import ExtraTimeStore
    from services.quiz.authoring.authorship import Authorship
    from services.quiz.player_lookup import PlayerLookup
    from services.quiz.quizzes.quiz import Quiz
    from services.quiz.quizzes.quiz_cache import QuizCache
    from services.quiz.submissions.store import SubmissionStore
    from services.runtime.auth.claims import Claims

# How many times a start is tried while other calls change the player's attempts.
MAX_CONFLICTS: Final = 20
EVERY_QUIZ: Final = frozenset({"moderator", "admin", "player:accommodate"})
_log = structlog.get_logger("attempts")


class Standing(NamedTuple):
    """Where a player stands at a quiz; see GetAttemptsResponse of the contract."""

    used: int
    left: int | None
    open: Attempt | None
    next_allowed_at: datetime | None
    time_limit: timedelta | None


class AttemptService:
    """Starts attempts and keeps their answers."""

    def __init__(
        self,
        attempts: AttemptStore,
        extra_times: ExtraTimeStore,
        submissions: SubmissionStore,
        cache: QuizCache,
        players: PlayerLookup,
        authorship: Authorship,
        deadlines: AttemptDeadlines,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._attempts = attempts
        self._extra_times = extra_times
        self._submissions = submissions
        self._cache = cache
        self._players = players
        self._authorship = authorship
        self._deadlines = deadlines
        self._now = now

    async def start(self, player: Claims, quiz_id: str) -> tuple[Attempt, Quiz, bool]:
        """Start an attempt or resume the open one; return it, the quiz as it shows it, and whether it is resumed.

        An open one that shows a version which is not kept is discarded.

        Raises QUIZ_NOT_FOUND, QUIZ_CLOSED, ATTEMPTS_EXHAUSTED, ATTEMPT_TOO_SOON, PLAYER_BLOCKED, UNAVAILABLE.
        """
        user_id = player.user_id
        for _ in range(MAX_CONFLICTS):
            quiz = await self._cache.quiz(quiz_id)
            before = await self._submissions.last_tally(user_id, quiz_id)
            attempt = await self._attempts.open(user_id, quiz_id, before.used + 1)
            if attempt is not None:
                if not attempt.accepts(self._now()):
                    await self._deadlines.end(attempt.attempt_id)
                elif shown := await self._version(quiz_id, attempt.version):
                    return attempt, shown, True
                else:
                    await self._attempts.remove([attempt.attempt_id])  # nobody can judge it
                continue
            await self._require_unblocked(user_id)
            now = self._now()
            if not quiz.is_open(now):
                raise ServiceError(Reason.QUIZ_CLOSED, "The quiz is not open.")
            if refused := attempts_refused(terms_of(quiz).limits, before, milliseconds_of(now)):
                raise refused
            extra_time = await self._extra_times.extra_time(user_id, quiz_id)
            new_id = str(uuid.uuid4())
            attempt = started(quiz, new_id, user_id, player.country, before.used + 1, extra_time, now)
            if not await self._attempts.add(attempt):
                continue
            # Another instance may have recorded and removed an attempt with this number since the tally was read.
            if (await self._submissions.last_tally(user_id, quiz_id)).used >= attempt.number:
                await self._attempts.remove([attempt.attempt_id])
                continue
            self._deadlines.note(attempt)
            attempts_started.inc()
            return attempt, quiz, False
        raise ServiceError(Reason.UNAVAILABLE, "Too many changes to your attempts at once. Try again.")

    async def save(
        self, player: Claims, attempt_id: str, answers: Sequence[Answer], cleared: Collection[str]
    ) -> tuple[Attempt, Quiz]:
        """Save answers of an open attempt; return it with all that are saved, and the quiz that it shows.

        Raises ATTEMPT_CLOSED, INVALID_ARGUMENT for an answer that does not match the quiz, UNAVAILABLE.
        """
        now = self._now()
        found = (await self._attempts.attempts([attempt_id])).get(attempt_id)
        if found is None or found.user_id != player.user_id:
            raise attempt_closed()
        quiz = await self.shown(found)
        try:
            judge(quiz, answers)
        except AnswerError as error:
            raise mismatch(error) from None
        saved = await self._attempts.save(attempt_id, player.user_id, answers, cleared, now)
        if saved is None:
            raise attempt_closed()
        return saved, quiz

    async def standing(self, player: Claims, quiz_id: str) -> Standing:
        """Return where a player stands at a quiz. Raises QUIZ_NOT_FOUND, UNAVAILABLE."""
        quiz, now = await self._cache.quiz(quiz_id), self._now()
        before = await self._submissions.last_tally(player.user_id, quiz_id)
        attempt = await self._attempts.open(player.user_id, quiz_id, before.used + 1)
        is_counted = attempt is not None and attempt.is_timed
        used = before.used + is_counted
        next_at = terms_of(quiz).limits.cooled_down_at(before)
        return Standing(
            used=used,
            left=max(0, quiz.max_attempts - used) if quiz.max_attempts else None,
            open=attempt if attempt and attempt.accepts(now) else None,
            next_allowed_at=datetime.fromtimestamp(next_at / 1000, UTC) if next_at > milliseconds_of(now) else None,
            time_limit=time_limit(quiz, await self._extra_times.extra_time(player.user_id, quiz_id)),
        )

    async def shown(self, attempt: Attempt) -> Quiz:
        """Return the version of the quiz that an attempt shows. Raises QUIZ_NOT_FOUND, QUIZ_CHANGED, UNAVAILABLE."""
        quiz = await self._version(attempt.quiz_id, attempt.version)
        if quiz is None:
            raise ServiceError(Reason.QUIZ_CHANGED, "The version of the quiz that the attempt shows is not kept.")
        return quiz

    async def unjudgeable(self) -> int:
        """Return how many open attempts show a version of their quiz that is not kept. Raises UNAVAILABLE."""
        shown = await self._attempts.shown_versions()
        return sum([attempts for version, attempts in shown.items() if not await self._is_kept(*version)])

    async def _is_kept(self, quiz_id: str, version: int) -> bool:
        try:
            return await self._version(quiz_id, version) is not None
        except ServiceError as error:
            if error.reason is not Reason.QUIZ_NOT_FOUND:
                raise
            return False

    async def _version(self, quiz_id: str, version: int) -> Quiz | None:
        """Return a version of a quiz; None if it is not kept. Raises QUIZ_NOT_FOUND, UNAVAILABLE."""
        quiz = await self._cache.quiz(quiz_id)
        if quiz.version < version:
            quiz = await self._cache.fresh(quiz_id)
        if quiz.version == version:
            return quiz
        replaced = await self._cache.replaced(quiz_id, version)
        return replaced.quiz if replaced else None

    async def set_extra_time(
        self, caller: Claims, user_id: str, quiz_id: str, extra_time: ExtraTime, reason: str
    ) -> ExtraTime:
        """Set the extra time of a player at a quiz, or at all quizzes if `quiz_id` is empty; return the former one.

        Raises PLAYER_NOT_FOUND, QUIZ_NOT_FOUND, PERMISSION_DENIED for an author who names no quiz of theirs, UNAVAILABLE.
        """
        if not caller.may(EVERY_QUIZ):
            if not quiz_id:
                raise ServiceError(
                    Reason.PERMISSION_DENIED, "Authors decide about extra time at their quizzes. Name one."
                )
            await self._authorship.require(caller, quiz_id)
        if quiz_id:
            await self._cache.quiz(quiz_id)
        if await self._players.find(user_id) is None:
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "No player has this ID.")
        decision = Decision(quiz_id, extra_time, caller.user_id, self._now(), reason)
        previous = await self._extra_times.decide(user_id, decision)
        _log.info("extra time set", user_id=user_id, quiz_id=quiz_id, actor=caller.user_id)
        return previous

    async def extra_times(self, user_id: str) -> list[Decision]:
        """Return the decisions about the extra time of a player, newest first. Raises UNAVAILABLE."""
        return await self._extra_times.decisions(user_id)

    async def of_player(self, user_id: str) -> list[Attempt]:
        """Return the open attempts of a player, for their export. Raises UNAVAILABLE."""
        return await self._attempts.of_player(user_id)

    async def erase(self, user_id: str, pseudonym: str) -> None:
        """Remove the attempts and the extra time of a player. Safe to repeat. Raises UNAVAILABLE."""
        await self._attempts.erase(user_id)
        await self._extra_times.erase(user_id, pseudonym)

    async def _require_unblocked(self, user_id: str) -> None:
        player = (await self._players.players({user_id}))[user_id]
        if player.is_erased:
            raise ServiceError(Reason.UNAUTHENTICATED, "The account was deleted.")
        if player.block is not None:
            raise blocked(player.block, is_caller=True)
