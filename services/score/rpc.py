"""gRPC: request → service → response, and who may call what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
from topten.score.v1 import score_pb2, score_service_pb2_grpc
from topten.score.v1 import score_service_pb2 as messages

from services.runtime.access import ADMIN, PLAYER, STAFF
from services.runtime.call_context import caller
from services.runtime.errors import Reason, ServiceError
from services.score.dead_letters import DEAD, REPLAYED, DeadLetter
from services.score.erasing import Eraser
from services.score.flags import BLOCKED, CLOSED, OPEN, Flag
from services.score.letters import Letters
from services.score.locate import Location, Locator
from services.score.reports import At, Found
from services.score.service import Change, ScoreService

Context = grpc.aio.ServicerContext[Any, Any]

_SEES_ALL = STAFF | {"score:read"}
_MAY_REPAIR = ADMIN | {"score:repair"}
ACCESS: Mapping[str, frozenset[str]] = {
    "/topten.score.v1.ScoreService/GetScore": PLAYER | _SEES_ALL,
    "/topten.score.v1.ScoreService/ListScoreHistory": PLAYER | _SEES_ALL,
    "/topten.score.v1.ScoreService/LocateEvents": STAFF | {"event:read"},
    "/topten.score.v1.ScoreService/ListDeadLetters": STAFF | {"event:read"},
    "/topten.score.v1.ScoreService/GetDeadLetter": ADMIN | {"event:read"},
    "/topten.score.v1.ScoreService/ReplayDeadLetters": ADMIN | {"event:replay"},
    "/topten.score.v1.ScoreService/ListFlags": _SEES_ALL,
    "/topten.score.v1.ScoreService/CloseFlag": STAFF,
    "/topten.score.v1.ScoreService/ListCountedEvents": STAFF | {"event:read"},
    "/topten.score.v1.ScoreService/VerifyScores": STAFF | {"event:read"},
    "/topten.score.v1.ScoreService/RebuildBoards": _MAY_REPAIR,
    "/topten.score.v1.ScoreService/ExportPlayer": PLAYER,
    "/topten.score.v1.ScoreService/ErasePlayer": frozenset({"player:erase"}),
}
_STATE_OF: Mapping[str, score_pb2.DeadLetterState.ValueType] = {
    DEAD: score_pb2.DEAD_LETTER_STATE_DEAD,
    REPLAYED: score_pb2.DEAD_LETTER_STATE_REPLAYED,
}
_STATES = {state: name for name, state in _STATE_OF.items()}
_FLAG_STATE_OF: Mapping[str, score_pb2.FlagState.ValueType] = {
    OPEN: score_pb2.FLAG_STATE_OPEN,
    BLOCKED: score_pb2.FLAG_STATE_BLOCKED,
    CLOSED: score_pb2.FLAG_STATE_CLOSED,
}
_FLAG_STATES = {state: name for name, state in _FLAG_STATE_OF.items()}


class ScoreServicer(score_service_pb2_grpc.ScoreServiceServicer):
    """The service on the wire."""

    def __init__(self, service: ScoreService, letters: Letters, locator: Locator, eraser: Eraser) -> None:
        self._service = service
        self._eraser = eraser
        self._letters = letters
        self._locator = locator

    async def GetScore(self, request: messages.GetScoreRequest, context: Context) -> messages.GetScoreResponse:
        """See score_service.proto."""
        claims = caller()
        found = await self._service.get_score(request.user_id, asker=claims.user_id, sees_all=claims.may(_SEES_ALL))
        score = score_pb2.Score(user_id=found.user_id, total=found.total, revision=found.revision)
        return messages.GetScoreResponse(score=score)

    async def ListScoreHistory(
        self, request: messages.ListScoreHistoryRequest, context: Context
    ) -> messages.ListScoreHistoryResponse:
        """See score_service.proto."""
        claims = caller()
        changes, token = await self._service.history(
            request.user_id, request.page_size, request.page_token, asker=claims.user_id, sees_all=claims.may(_SEES_ALL)
        )
        sees_actors = claims.may(_SEES_ALL)
        return messages.ListScoreHistoryResponse(
            changes=[_change(change, sees_actors=sees_actors) for change in changes], next_page_token=token
        )

    async def LocateEvents(
        self, request: messages.LocateEventsRequest, context: Context
    ) -> messages.LocateEventsResponse:
        """See score_service.proto."""
        found = await self._locator.locate(request.event_ids)
        return messages.LocateEventsResponse(locations=map(_location, found))

    async def ListDeadLetters(
        self, request: messages.ListDeadLettersRequest, context: Context
    ) -> messages.ListDeadLettersResponse:
        """See score_service.proto."""
        letters, token = await self._letters.page(request.page_size, request.page_token, _STATES.get(request.state))
        return messages.ListDeadLettersResponse(letters=map(_letter, letters), next_page_token=token)

    async def GetDeadLetter(
        self, request: messages.GetDeadLetterRequest, context: Context
    ) -> messages.GetDeadLetterResponse:
        """See score_service.proto."""
        letter = await self._letters.letter(request.letter_id)
        return messages.GetDeadLetterResponse(letter=None if letter is None else _letter(letter))

    async def ReplayDeadLetters(
        self, request: messages.ReplayDeadLettersRequest, context: Context
    ) -> messages.ReplayDeadLettersResponse:
        """See score_service.proto."""
        outcomes = await self._letters.replay(request.letter_ids)
        return messages.ReplayDeadLettersResponse(
            outcomes=[
                messages.ReplayOutcome(letter_id=outcome.letter_id, counted=outcome.counted, reason=outcome.reason)
                for outcome in outcomes
            ]
        )

    async def ListFlags(self, request: messages.ListFlagsRequest, context: Context) -> messages.ListFlagsResponse:
        """See score_service.proto."""
        flags, token = await self._service.flags(request.page_size, request.page_token, _FLAG_STATES.get(request.state))
        return messages.ListFlagsResponse(flags=map(_flag, flags), next_page_token=token)

    async def CloseFlag(self, request: messages.CloseFlagRequest, context: Context) -> messages.CloseFlagResponse:
        """See score_service.proto."""
        flag = await self._service.close_flag(request.flag_id, request.note, by=caller().user_id)
        return messages.CloseFlagResponse(flag=_flag(flag))

    async def ListCountedEvents(
        self, request: messages.ListCountedEventsRequest, context: Context
    ) -> AsyncIterator[messages.ListCountedEventsResponse]:
        """See score_service.proto."""
        async for events, total in self._service.counted_events():
            yield messages.ListCountedEventsResponse(
                events=[
                    messages.CountedEvent(event_id=event_id, user_id=user_id, kind=kind)
                    for event_id, user_id, kind in events
                ],
                total=total,
            )

    async def ExportPlayer(
        self, request: messages.ExportPlayerRequest, context: Context
    ) -> messages.ExportPlayerResponse:
        """See score_service.proto."""
        page = await self._service.export(caller().user_id, request.page_token)
        return messages.ExportPlayerResponse(
            changes=[_change(change, sees_actors=False) for change in page.changes],
            flags=[_flag(flag._replace(closed_by="")) for flag in page.flags],
            boards=[board.text for board in page.boards],
            next_page_token=page.next_token,
        )

    async def ErasePlayer(self, request: messages.ErasePlayerRequest, context: Context) -> messages.ErasePlayerResponse:
        """See score_service.proto."""
        pseudonym, done = await asyncio.shield(self._eraser.erase(request.user_id))
        return messages.ErasePlayerResponse(pseudonym=pseudonym, done=done)

    async def VerifyScores(
        self, request: messages.VerifyScoresRequest, context: Context
    ) -> AsyncIterator[messages.VerifyScoresResponse]:
        """See score_service.proto."""
        if request.repair and not caller().may(_MAY_REPAIR):
            raise ServiceError(Reason.PERMISSION_DENIED, "Repairing needs more than looking.")
        async for step in self._service.verify_scores(repair=request.repair):
            if isinstance(step, At):
                yield messages.VerifyScoresResponse(progress=_progress(step))
            elif isinstance(step, Found):
                yield messages.VerifyScoresResponse(
                    finding=score_pb2.Finding(kind=step.kind, subject=step.subject, detail=step.detail)
                )
            else:
                yield messages.VerifyScoresResponse(
                    summary=messages.VerifySummary(
                        rows=step.rows,
                        players=step.players,
                        boards=step.boards,
                        members=step.members,
                        findings=step.findings,
                        mended_players=step.mended_players,
                        rebuilt_boards=step.rebuilt_boards,
                    )
                )

    async def RebuildBoards(
        self, request: messages.RebuildBoardsRequest, context: Context
    ) -> AsyncIterator[messages.RebuildBoardsResponse]:
        """See score_service.proto."""
        async for step in self._service.rebuild_boards():
            if isinstance(step, At):
                yield messages.RebuildBoardsResponse(progress=_progress(step))
            else:
                yield messages.RebuildBoardsResponse(
                    summary=messages.RebuildSummary(
                        generation=step.generation, boards=step.boards, members=step.members
                    )
                )


def _change(change: Change, *, sees_actors: bool) -> score_pb2.ScoreChange:
    row, origin = change
    found = score_pb2.ScoreChange(
        event_id=row.event_id,
        user_id=row.user_id,
        revision=row.revision,
        kind=row.kind,
        old_score=row.old_total,
        new_score=row.total.points,
        delta=row.delta,
        quiz_id=row.quiz_id,
        action_id=row.action_id,
        ip=origin.ip if origin else "",
        user_agent=origin.user_agent if origin else "",
        actor=row.change.actor if row.change and sees_actors else "",
        reason=row.change.reason if row.change else "",
    )
    found.timestamp.FromMilliseconds(row.at)
    found.recorded_at.FromMilliseconds(row.recorded_at)
    return found


def _location(location: Location) -> score_pb2.EventLocation:
    found = score_pb2.EventLocation(event_id=location.event_id)
    if location.counted is not None:
        found.place = score_pb2.EVENT_PLACE_LEDGER
        found.user_id, found.delta = location.counted
    elif location.is_dead:
        found.place = score_pb2.EVENT_PLACE_DEAD_LETTER
    return found


def _letter(letter: DeadLetter) -> score_pb2.DeadLetter:
    found = score_pb2.DeadLetter(
        letter_id=letter.letter_id,
        reason=letter.reason,
        subject=letter.subject,
        sequence=letter.sequence,
        state=_STATE_OF[letter.state],
        payload=letter.payload,
    )
    found.timestamp.FromMilliseconds(letter.at)
    return found


def _flag(flag: Flag) -> score_pb2.Flag:
    found = score_pb2.Flag(
        flag_id=flag.flag_id,
        user_id=flag.user_id,
        rule=flag.rule,
        reason=flag.reason,
        evidence=flag.evidence,
        event_id=flag.event_id,
        state=_FLAG_STATE_OF[flag.state],
        closed_by=flag.closed_by,
        note=flag.note,
    )
    found.timestamp.FromMilliseconds(flag.at)
    return found


def _progress(step: At) -> score_pb2.Progress:
    return score_pb2.Progress(stage=step.stage, done=step.done, total=step.total)
