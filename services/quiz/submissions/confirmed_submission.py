"""Submitting actions and waiting until they are counted: the totals and standings that they led to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from topten.score.v1.confirmation_pb2 import BoardStanding

from services.confirmation.confirmations import Confirmations, seconds_to_wait
from services.quiz.submissions.action import Action, Outcome
from services.quiz.submissions.service import SubmissionService
from services.quiz.submissions.submission import Submission


class Confirmed(NamedTuple):
    """A recorded action, whether it existed before, the total after it, None if it is still on its way, and standings."""

    submission: Submission
    duplicate: bool
    total: int | None = None
    standings: Sequence[BoardStanding] = ()


ConfirmedOutcome = Confirmed | Exception
"""A recorded action and what it led to, or why there is none."""


class ConfirmedSubmission:
    """Submits actions for callers that wait."""

    def __init__(self, submissions: SubmissionService, confirmations: Confirmations) -> None:
        self._submissions = submissions
        self._confirmations = confirmations

    async def submit(self, action: Action, boards: Sequence[str]) -> Confirmed:
        """Submit as `SubmissionService.submit_action` does, and wait until the action is counted or the time is over.

        Also raises BOARD_NOT_FOUND, before anything is recorded.
        """
        (outcome,) = await self._submit([action], boards, partial(self._alone, action))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def submit_actions(self, actions: Sequence[Action], boards: Sequence[str]) -> list[ConfirmedOutcome]:
        """Submit as `SubmissionService.submit_actions` does, and wait until all are counted or the time is over.

        Standings are read once, after the wait: those of a player show every action of theirs that has a total. Raises
        BOARD_NOT_FOUND, before anything is recorded.
        """
        if not actions:
            return []
        return await self._submit(actions, boards, partial(self._submissions.submit_actions, actions))

    async def _alone(self, action: Action) -> list[Outcome]:
        return [await self._submissions.submit_action(action)]

    async def _submit(
        self, actions: Sequence[Action], boards: Sequence[str], record: Callable[[], Awaitable[list[Outcome]]]
    ) -> list[ConfirmedOutcome]:
        await self._confirmations.check(boards, actions[0].user_id)
        with self._confirmations.listening({action.user_id for action in actions}) as listener:
            outcomes = [_confirmed(outcome) for outcome in await asyncio.shield(asyncio.ensure_future(record()))]
            recorded = [each for each in outcomes if isinstance(each, Confirmed)]
            totals = await listener.totals(
                {each.submission.event_id for each in recorded},
                self._submissions.publish_again,
                repeated={each.submission.event_id for each in recorded if each.duplicate},
                seconds=seconds_to_wait(),
            )
        counted = {each.submission.user_id for each in recorded if each.submission.event_id in totals}
        standings = await self._confirmations.standings(sorted(counted), boards) if boards else {}
        return [_counted(each, totals, standings) for each in outcomes]


def _confirmed(outcome: Outcome) -> ConfirmedOutcome:
    return outcome if isinstance(outcome, Exception) else Confirmed(*outcome)


def _counted(
    outcome: ConfirmedOutcome, totals: Mapping[str, int], standings: Mapping[str, Sequence[BoardStanding]]
) -> ConfirmedOutcome:
    if isinstance(outcome, Exception) or outcome.submission.event_id not in totals:
        return outcome
    submission = outcome.submission
    return outcome._replace(total=totals[submission.event_id], standings=standings.get(submission.user_id, ()))
