"""Actions of action types that arrive in one call: each checked, decided and answered for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Final

import protovalidate
from topten.action.v1 import action_pb2, action_service_pb2
from topten.quiz.v1 import quiz_pb2
from topten.score.v1.confirmation_pb2 import BoardStanding

from services.quiz.relay import RelayedKind
from services.quiz.submissions.action import Action, Outcome, Report
from services.quiz.submissions.confirmed_submission import ConfirmedOutcome
from services.quiz.submissions.submission import Submission, metadata_text
from services.runtime.auth.access import ADMIN, PLAYER
from services.runtime.auth.external_ids import player_id, source_of
from services.runtime.errors import Reason, ServiceError, invalid
from services.runtime.grpc import requests
from services.runtime.grpc.call_context import request_id
from services.runtime.grpc.chain import refusal_of

if TYPE_CHECKING:
    from services.quiz.submissions.confirmed_submission import ConfirmedSubmission
    from services.quiz.submissions.service import SubmissionService
    from services.runtime.auth.claims import Claims

_METHOD: Final = "/topten.action.v1.ActionService/SubmitActions"
MAX_METADATA: Final = 1024
_ACT_FOR_OTHERS: Final = ADMIN | {"action:submit"}


class ActionReports:
    """Submits what players did."""

    def __init__(self, submissions: SubmissionService, confirmed: ConfirmedSubmission) -> None:
        self._submissions = submissions
        self._confirmed = confirmed
        self._validator = protovalidate.Validator()

    async def submit(
        self,
        stated: Sequence[action_pb2.PlayerAction],
        client: quiz_pb2.Client,
        caller: Claims,
        *,
        boards: Sequence[str] | None = None,
    ) -> list[action_pb2.ActionResult]:
        """Return the result of each action, in order: a refusal is a result.

        Waits until all are counted or the time is over if `boards` are given, also if there are none of them. Then raises
        BOARD_NOT_FOUND, before anything is recorded.
        """
        outcomes: dict[int, Outcome | ConfirmedOutcome] = {}
        admitted: dict[int, Action] = {}
        for index, each in enumerate(stated):
            try:
                requests.check(each, self._validator)
                admitted[index] = action_of(each, client, caller)
            except ServiceError as error:
                outcomes[index] = error
        actions = list(admitted.values())
        settled: Sequence[Outcome | ConfirmedOutcome]
        if boards is None:
            settled = await asyncio.shield(self._submissions.submit_actions(actions))
        else:
            settled = await self._confirmed.submit_actions(actions, boards)
        outcomes |= zip(admitted, settled, strict=True)
        return [_result(outcomes[index]) for index in range(len(stated))]


def action_of(
    stated: action_pb2.PlayerAction, client: quiz_pb2.Client, caller: Claims, *, abandoned_at: float = float("inf")
) -> Action:
    """Return the action of a valid message, for which nobody waits after `abandoned_at`.

    Raises PERMISSION_DENIED, INVALID_ARGUMENT.
    """
    user_id, actor = caller.user_id, ""
    if stated.HasField("player"):
        player = stated.player
        user_id = player.user_id or player_id(source_of(caller), player.external_id)
        if caller.may(_ACT_FOR_OTHERS):
            actor = caller.user_id
        elif user_id != caller.user_id:
            raise ServiceError(Reason.PERMISSION_DENIED, "You may submit your own actions only.")
    elif not caller.may(PLAYER):
        raise invalid("player", "is required: the caller is no player")
    metadata = metadata_text(stated.metadata)
    if metadata and len(metadata.encode()) > MAX_METADATA:
        raise invalid("metadata", f"must be at most {MAX_METADATA} bytes as JSON")
    happened = stated.WhichOneof("happened")
    return Action(
        user_id=user_id,
        country=caller.country,
        action_id=stated.action_id,
        quiz_id="",
        answers=(),
        client_time=stated.occurred_at.ToDatetime(UTC) if stated.HasField("occurred_at") else None,
        client=client,
        report=Report(
            action_type_id=stated.action_type_id,
            happened=(happened, getattr(stated, happened)) if happened else None,
            metadata=metadata,
            actor=actor,
        ),
        abandoned_at=abandoned_at,
    )


def _result(outcome: Outcome | ConfirmedOutcome) -> action_pb2.ActionResult:
    if isinstance(outcome, Exception):
        return _refused(refusal_of(outcome, _METHOD, request_id()))
    return _recorded(*outcome)


def _recorded(
    submission: Submission, duplicate: bool, total: int | None = None, standings: Sequence[BoardStanding] = ()
) -> action_pb2.ActionResult:
    return action_pb2.ActionResult(
        status=action_pb2.ActionResult.DUPLICATE if duplicate else action_pb2.ActionResult.ACCEPTED,
        points_awarded=submission.marks.points,
        total=total,
        standings=standings,
    )


def _refused(refusal: ServiceError) -> action_pb2.ActionResult:
    field, fault = refusal.violations[0] if refusal.violations else ("", "")
    result = action_pb2.ActionResult(
        status=action_pb2.ActionResult.REFUSED,
        reason=refusal.reason,
        message=f"{field}: {fault.rstrip('.')}." if field else refusal.message,
        field=field,
        metadata=refusal.metadata,
    )
    if refusal.retry_after is not None:
        result.retry_after.FromTimedelta(refusal.retry_after)
    return result


def _read(
    relayed: action_service_pb2.RelayedAction,
    player: Claims,
    validator: protovalidate.Validator,
    abandoned_at: float,
) -> Action:
    requests.check(relayed.action, validator)
    requests.check(relayed.client, validator)
    return action_of(relayed.action, relayed.client, player, abandoned_at=abandoned_at)


def _relayed(outcome: tuple[Submission, bool]) -> action_pb2.ActionResult:
    return _recorded(*outcome)


RELAYED_REPORTS: Final = RelayedKind(_METHOD, PLAYER, _read, _relayed, _refused)
