"""What players learn of their answers, and when: the outcomes of a recorded submission."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from topten.quiz.v1 import quiz_pb2

from services.quiz.questions.answers import AnswerError, answer_message
from services.quiz.quizzes.quiz import Quiz, judged_again_by
from services.quiz.quizzes.scoring import judge
from services.runtime.errors import Reason, ServiceError

if TYPE_CHECKING:
    from services.quiz.quizzes.quiz_cache import QuizCache
    from services.quiz.submissions.store import SubmissionStore
    from services.quiz.submissions.submission import Submission

_SILENT: Final = frozenset({quiz_pb2.FEEDBACK_UNSPECIFIED, quiz_pb2.FEEDBACK_NONE})


class Reviews:
    """Judges recorded answers again, by the version that they were judged by: the same outcomes at any time."""

    def __init__(self, store: SubmissionStore, cache: QuizCache, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._cache = cache
        self._now = now

    async def review(self, user_id: str, action_id: str) -> Submission:
        """Return a player's submission at a quiz with what they may know of it by now.

        Raises ACTION_NOT_FOUND, UNAVAILABLE.
        """
        submission = await self._store.submission(user_id, action_id)
        if submission is None or not submission.quiz_id:
            raise ServiceError(Reason.ACTION_NOT_FOUND, "You submitted no answers to a quiz with this action ID.")
        used = (await self._store.last_tally(user_id, submission.subject)).used
        judgement = await self._store.last_judgement(submission)
        if judgement is None or judgement.points is None:
            return await self.told(submission, used=used)
        judged = replace(submission, marks=replace(submission.marks, points=judgement.points))
        return await self.told(judged, used=used, again_by=judgement.quiz_version)

    async def _version(self, current: Quiz, version: int) -> Quiz | None:
        if version == current.version:
            return current
        replaced = await self._cache.replaced(current.quiz_id, version)
        return replaced.quiz if replaced else None

    async def told(self, submission: Submission, *, used: int | None = None, again_by: int = 0) -> Submission:
        """Return a submission with the outcomes that its player may know: as it is, if there are none.

        `used` is how many attempts the player has used by now; None if the submission is the last one. `again_by` is the
        version of the quiz that judged it again; 0 if none did. What the feedback depends on may have changed since, so that
        a response that is sent again may say more than the first.
        """
        if not submission.quiz_id or not submission.version:
            return submission
        try:
            current = await self._cache.quiz(submission.quiz_id)
            if current.feedback in _SILENT:
                return submission
            judged_by = await self._version(current, submission.version)
            if judged_by and again_by and (again := await self._version(current, again_by)):
                judged_by = judged_again_by(again, judged_by)
        except ServiceError:
            return submission  # it is recorded: outcomes can be asked for later
        if judged_by is None:
            return submission
        is_open = _tells_answers(current, submission.tally.used if used is None else used, self._now())
        return replace(submission, outcomes=_outcomes(judged_by, submission, with_answers=is_open))


def _tells_answers(quiz: Quiz, used: int, now: datetime) -> bool:
    match quiz.feedback:
        case quiz_pb2.FEEDBACK_ANSWERS:
            return True
        case quiz_pb2.FEEDBACK_ANSWERS_AFTER_LAST_ATTEMPT:
            return 0 < quiz.max_attempts <= used
        case quiz_pb2.FEEDBACK_ANSWERS_AFTER_CLOSE:
            return quiz.is_over(now)
        case _:
            return False


def _outcomes(quiz: Quiz, submission: Submission, *, with_answers: bool) -> Sequence[quiz_pb2.QuestionOutcome]:
    try:
        outcomes = judge(quiz, submission.answers)
    except AnswerError:
        return ()  # answers of an erased or restored record
    given = {answer.question_id: answer_message(answer) for answer in submission.answers}
    messages = []
    for outcome in outcomes:
        message = quiz_pb2.QuestionOutcome(
            question_id=outcome.question_id,
            verdict=outcome.verdict,
            points=outcome.points,
            selected=given.get(outcome.question_id),
        )
        if with_answers:
            question = quiz.questions[outcome.question_id]
            message.correct.CopyFrom(question.right_answer(outcome.question_id))
            message.explanation = question.explanation
        messages.append(message)
    return messages
