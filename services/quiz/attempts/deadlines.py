"""Handing in attempts whose time is up, with their saved answers.

Each is submitted as an action under the attempt's id, so it is recorded once even if several processes submit it. The loop
sleeps until the next deadline, but at most LOOK_AGAIN, because the process that started an attempt may have died.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog
from topten.quiz.v1 import quiz_pb2

from services.quiz.attempts.attempt import Attempt
from services.quiz.attempts.metrics import attempts_timed_out, overdue_attempts, overdue_seconds
from services.quiz.submissions.action import Action
from services.runtime.errors import Reason, ServiceError
from services.runtime.process.periodic import Periodic

if TYPE_CHECKING:
    from services.quiz.attempts.attempt_store import AttemptStore
    from services.quiz.submissions.service import SubmissionService

# At most this late is an attempt handed in whose process has died.
LOOK_AGAIN: Final = timedelta(seconds=30)
MEASURE_EVERY: Final = timedelta(seconds=10)
AFTER_FAILURE: Final = timedelta(seconds=1)
LEASE: Final = timedelta(seconds=10)
MAX_GROUP: Final = 200
_log = structlog.get_logger("attempts")


class AttemptDeadlines:
    """Hands attempts in. Use from one event loop."""

    def __init__(self, attempts: AttemptStore, submissions: SubmissionService, *, now: Callable[[], datetime]) -> None:
        self._attempts = attempts
        self._submissions = submissions
        self._now = now
        self._earlier = asyncio.Event()
        self._looks_at = datetime.max.replace(tzinfo=UTC)

    def servers(self) -> list[Periodic]:
        """Return the loop that hands attempts in, and one that tells whether it does: of both, either may hang."""
        return [
            Periodic("attempt deadlines", self.hand_in_next, every=timedelta(), retry_on=()),
            Periodic("overdue attempts", self.measure, every=MEASURE_EVERY, at_rest=2, retry_on=(ServiceError,)),
        ]

    def note(self, attempt: Attempt) -> None:
        """Wake up in time for an attempt that this process has started."""
        if attempt.accepts_until is not None and attempt.accepts_until < self._looks_at:
            self._earlier.set()

    async def hand_in_next(self) -> None:
        """Hand in all attempts whose time is up, then wait until the next one is due."""
        self._earlier.clear()
        pause = AFTER_FAILURE
        try:
            await self.hand_in_due()
            next_due = await self._attempts.next_due()
            pause = LOOK_AGAIN * random.uniform(0.8, 1.0)  # noqa: S311  # replicas spread
            if next_due is not None:
                pause = min(pause, max(next_due - self._now(), timedelta()))
        except ServiceError as error:
            _log.warning("attempts not handed in yet", reason=error.reason)
        self._looks_at = self._now() + pause
        try:
            async with asyncio.timeout(pause.total_seconds()):
                await self._earlier.wait()
        except TimeoutError:
            return

    async def hand_in_due(self) -> None:
        """Hand in all attempts whose time is up. Raises UNAVAILABLE."""
        while due := await self._take_due():
            await self._hand_in(due)

    async def overdue(self) -> tuple[int, timedelta]:
        """Return how many attempts are not handed in although their time is up, and since when. Raises UNAVAILABLE."""
        return await self._attempts.overdue(self._now(), LEASE)

    async def measure(self) -> None:
        """Report what is overdue as metrics. Raises UNAVAILABLE."""
        attempts, oldest = await self.overdue()
        overdue_attempts.set(attempts)
        overdue_seconds.set(oldest.total_seconds())

    async def end(self, attempt_id: str) -> None:
        """Hand in an attempt whose time is up, at once. Raises UNAVAILABLE."""
        if attempt := await self._attempts.take(attempt_id, self._now(), LEASE):
            await self._hand_in([attempt])

    async def _hand_in(self, attempts: Sequence[Attempt]) -> None:
        """Hand in attempts with their saved answers. Remove those that can never be recorded; leave the rest."""
        outcomes = await self._submissions.submit_actions([self._action(attempt) for attempt in attempts])
        never: list[str] = []
        for attempt, outcome in zip(attempts, outcomes, strict=True):
            if isinstance(outcome, tuple):
                _, is_duplicate = outcome
                attempts_timed_out.inc(not is_duplicate)
            elif isinstance(outcome, ServiceError) and outcome.reason is not Reason.UNAVAILABLE:
                never.append(attempt.attempt_id)
                _log.info("attempt ended without a record", attempt_id=attempt.attempt_id, reason=outcome.reason)
            else:
                _log.warning("attempt not handed in yet", attempt_id=attempt.attempt_id, error=type(outcome).__name__)
        if never:
            await self._attempts.remove(never)

    async def _take_due(self) -> list[Attempt]:
        taken: list[Attempt] = []
        while len(taken) < MAX_GROUP and (attempt := await self._attempts.take_due(self._now(), LEASE)):
            taken.append(attempt)
        return taken

    def _action(self, attempt: Attempt) -> Action:
        return Action(
            user_id=attempt.user_id,
            country=attempt.country,
            action_id=attempt.attempt_id,
            quiz_id=attempt.quiz_id,
            answers=tuple(attempt.answers.values()),
            client_time=None,
            client=quiz_pb2.Client(),
            attempt_id=attempt.attempt_id,
            is_time_up=True,
        )
