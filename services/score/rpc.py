"""gRPC: request → service → response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC
from typing import Any

import grpc
from topten.score.v1 import score_pb2, score_service_pb2_grpc
from topten.score.v1 import score_service_pb2 as messages

from services.runtime.auth.access import ADMIN, STAFF
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.call_context import caller
from services.runtime.int32 import int32
from services.runtime.texts import canonical_id
from services.score.admin.dead_letter_replay import DeadLetterReplay, dead_letter_cursor
from services.score.admin.erasure import PlayerEraser
from services.score.admin.progress import Progress
from services.score.admin.verify import Finding
from services.score.fairplay.flag_store import BLOCKED, CLOSED, OPEN, Flag
from services.score.ingest.dead_letter_store import DEAD, REPLAYED, DeadLetter
from services.score.ledger.events import metadata_of
from services.score.ledger.seals import Seal
from services.score.notices.notice import Notice
from services.score.notices.service import Notices
from services.score.periods.archive_store import Reseal
from services.score.periods.closed_boards import Actions, ClosedBoards
from services.score.periods.resealing import PeriodResealer
from services.score.service import EventLocation, ScoreChange, ScoreService, flag_cursor, row_cursor

Context = grpc.aio.ServicerContext[Any, Any]

_SEES_ALL = STAFF | {"score:read"}
_MAY_REPAIR = ADMIN | {"score:repair"}
_MAX_BOARDS = 100
_MAX_CHANGES = 50
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
    """The contract's service. What each method does is documented in score_service.proto."""

    def __init__(
        self,
        service: ScoreService,
        notices: Notices,
        dead_letters: DeadLetterReplay,
        eraser: PlayerEraser,
        resealer: PeriodResealer,
        closed_boards: ClosedBoards,
    ) -> None:
        self._service = service
        self._notices = notices
        self._dead_letters = dead_letters
        self._eraser = eraser
        self._resealer = resealer
        self._closed_boards = closed_boards

    async def GetScore(self, request: messages.GetScoreRequest, context: Context) -> messages.GetScoreResponse:
        claims = caller()
        score = await self._service.get_score(request.user_id, caller_id=claims.user_id, sees_all=claims.may(_SEES_ALL))
        return messages.GetScoreResponse(
            score=score_pb2.Score(user_id=score.user_id, total=int32(score.total), revision=score.revision)
        )

    async def ListScoreHistory(
        self, request: messages.ListScoreHistoryRequest, context: Context
    ) -> messages.ListScoreHistoryResponse:
        claims = caller()
        sees_all = claims.may(_SEES_ALL)
        changes, token = await self._service.history(
            request.user_id, request.page_size, request.page_token, caller_id=claims.user_id, sees_all=sees_all
        )
        return messages.ListScoreHistoryResponse(
            changes=[_change(change, sees_actors=sees_all) for change in changes],
            next_page_token=token,
            cursors=[row_cursor(request.user_id, change.row) for change in changes],
        )

    async def ListNotices(self, request: messages.ListNoticesRequest, context: Context) -> messages.ListNoticesResponse:
        notices, through = await self._notices.unseen(caller().user_id)
        return messages.ListNoticesResponse(notices=map(_notice, notices), through=through)

    async def MarkNoticesSeen(
        self, request: messages.MarkNoticesSeenRequest, context: Context
    ) -> messages.MarkNoticesSeenResponse:
        through = await self._notices.mark_seen(caller().user_id, request.through)
        return messages.MarkNoticesSeenResponse(through=through)

    async def LocateEvents(
        self, request: messages.LocateEventsRequest, context: Context
    ) -> messages.LocateEventsResponse:
        locations = await self._service.locate(request.event_ids)
        return messages.LocateEventsResponse(locations=map(_location, locations))

    async def ListDeadLetters(
        self, request: messages.ListDeadLettersRequest, context: Context
    ) -> messages.ListDeadLettersResponse:
        dead_letters, token = await self._dead_letters.page(
            request.page_size, request.page_token, _STATES.get(request.state)
        )
        return messages.ListDeadLettersResponse(
            letters=map(_dead_letter, dead_letters),
            next_page_token=token,
            cursors=map(dead_letter_cursor, dead_letters),
        )

    async def GetDeadLetter(
        self, request: messages.GetDeadLetterRequest, context: Context
    ) -> messages.GetDeadLetterResponse:
        dead_letter = await self._dead_letters.get(request.letter_id)
        return messages.GetDeadLetterResponse(letter=None if dead_letter is None else _dead_letter(dead_letter))

    async def ReplayDeadLetters(
        self, request: messages.ReplayDeadLettersRequest, context: Context
    ) -> messages.ReplayDeadLettersResponse:
        outcomes = await self._dead_letters.replay(request.letter_ids)
        return messages.ReplayDeadLettersResponse(
            outcomes=[
                messages.ReplayOutcome(letter_id=outcome.letter_id, counted=outcome.counted, reason=outcome.reason)
                for outcome in outcomes
            ]
        )

    async def ListFlags(self, request: messages.ListFlagsRequest, context: Context) -> messages.ListFlagsResponse:
        state = _FLAG_STATES.get(request.state)
        flags, token = await self._service.flags(
            request.page_size, request.page_token, state, canonical_id(request.user_id)
        )
        return messages.ListFlagsResponse(
            flags=map(_flag, flags), next_page_token=token, cursors=map(flag_cursor, flags)
        )

    async def CloseFlag(self, request: messages.CloseFlagRequest, context: Context) -> messages.CloseFlagResponse:
        flag = await self._service.close_flag(request.flag_id, request.note, by=caller().user_id)
        return messages.CloseFlagResponse(flag=_flag(flag))

    async def ListCountedEvents(
        self, request: messages.ListCountedEventsRequest, context: Context
    ) -> AsyncIterator[messages.ListCountedEventsResponse]:
        async for events, total in self._service.counted_events():
            yield messages.ListCountedEventsResponse(
                events=[messages.CountedEvent(**event._asdict()) for event in events],
                total=total,
            )

    async def ExportPlayer(
        self, request: messages.ExportPlayerRequest, context: Context
    ) -> messages.ExportPlayerResponse:
        page = await self._service.export(caller(), request.page_token)
        is_first = not request.page_token
        seen = await self._notices.seen_through(caller().user_id) if is_first else 0
        return messages.ExportPlayerResponse(
            changes=[_change(change, sees_actors=False) for change in page.changes],
            flags=[_flag(flag._replace(closed_by="")) for flag in page.flags],
            boards=[board.name for board in page.boards],
            next_page_token=page.next_page_token,
            notices_seen_through=seen,
        )

    async def ErasePlayer(self, request: messages.ErasePlayerRequest, context: Context) -> messages.ErasePlayerResponse:
        pseudonym, done = await asyncio.shield(self._eraser.erase(request.user_id))
        return messages.ErasePlayerResponse(pseudonym=pseudonym, done=done)

    async def GetEventEffect(
        self, request: messages.GetEventEffectRequest, context: Context
    ) -> messages.GetEventEffectResponse:
        effect = await self._service.event_effect(request.event_id)
        if effect is None:
            return messages.GetEventEffectResponse()
        return messages.GetEventEffectResponse(
            counted=True,
            score_delta=int32(effect.delta),
            new_score=int32(effect.new_total),
            boards_changed=[board.name for board in effect.changed[:_MAX_BOARDS]],
            closed_boards_unchanged=[board.name for board in effect.unchanged[:_MAX_BOARDS]],
        )

    async def ListClosedBoards(
        self, request: messages.ListClosedBoardsRequest, context: Context
    ) -> messages.ListClosedBoardsResponse:
        times = sorted(time.ToDatetime(UTC) for time in request.times)
        actions = Actions(request.quiz_id, times, request.tags, request.countries)
        boards = await self._closed_boards.counting(actions, caller())
        return messages.ListClosedBoardsResponse(boards=[board.name for board in boards])

    async def ResealPeriod(
        self, request: messages.ResealPeriodRequest, context: Context
    ) -> messages.ResealPeriodResponse:
        resealing = self._resealer.reseal(request.board, request.user_id, request.reason, actor=caller().user_id)
        return messages.ResealPeriodResponse(boards=map(_resealed, await asyncio.shield(resealing)))

    async def VerifyScores(
        self, request: messages.VerifyScoresRequest, context: Context
    ) -> AsyncIterator[messages.VerifyScoresResponse]:
        if request.repair and not caller().may(_MAY_REPAIR):
            raise ServiceError(Reason.PERMISSION_DENIED, "Repairing requires the admin role or the scope score:repair.")
        async for step in self._service.verify_scores(repair=request.repair, actor=caller().user_id):
            if isinstance(step, Progress):
                yield messages.VerifyScoresResponse(progress=_progress(step))
            elif isinstance(step, Finding):
                yield messages.VerifyScoresResponse(
                    finding=score_pb2.Finding(kind=step.kind, subject=step.subject, detail=step.detail)
                )
            elif isinstance(step, Seal):
                yield messages.VerifyScoresResponse(seal=_seal(step))
            else:
                yield messages.VerifyScoresResponse(
                    summary=messages.VerifySummary(
                        rows=step.rows,
                        players=step.players,
                        boards=step.boards,
                        members=step.members,
                        findings=step.findings,
                        seals=step.seals,
                        mended_players=step.mended_players,
                        rebuilt_boards=step.rebuilt_boards,
                    )
                )

    async def RebuildBoards(
        self, request: messages.RebuildBoardsRequest, context: Context
    ) -> AsyncIterator[messages.RebuildBoardsResponse]:
        async for step in self._service.rebuild_boards():
            if isinstance(step, Progress):
                yield messages.RebuildBoardsResponse(progress=_progress(step))
            else:
                yield messages.RebuildBoardsResponse(
                    summary=messages.RebuildSummary(
                        generation=step.generation, boards=step.boards, members=step.members
                    )
                )


def _change(change: ScoreChange, *, sees_actors: bool) -> score_pb2.ScoreChange:
    row, origin = change
    message = score_pb2.ScoreChange(
        event_id=row.event_id,
        user_id=row.user_id,
        revision=row.revision,
        kind=row.kind,
        old_score=int32(row.old_total),
        new_score=int32(row.total.points),
        delta=int32(row.delta),
        quiz_id=row.quiz_id,
        action_id=row.action_id,
        ip=origin.ip if origin else "",
        user_agent=origin.user_agent if origin else "",
        actor=row.change.actor if row.change and sees_actors else "",
        reason=row.change.reason if row.change else "",
        action_type_id=row.change.action_type_id if row.change else "",
        metadata=metadata_of(row.change.metadata) if row.change else {},
    )
    message.timestamp.FromMilliseconds(row.at)
    message.recorded_at.FromMilliseconds(row.recorded_at)
    return message


def _notice(notice: Notice) -> score_pb2.Notice:
    message = score_pb2.Notice(
        revision=notice.revision,
        kind=notice.kind,
        quiz_id=notice.quiz_id,
        action_type_id=notice.action_type_id,
        points_before=int32(notice.points_before),
        points_after=int32(notice.points_after),
        reason=notice.reason,
    )
    message.recorded_at.FromMilliseconds(notice.recorded_at)
    return message


def _location(location: EventLocation) -> score_pb2.EventLocation:
    message = score_pb2.EventLocation(event_id=location.event_id)
    if location.counted is not None:
        message.place = score_pb2.EVENT_PLACE_LEDGER
        message.user_id, delta = location.counted
        message.delta = int32(delta)
    elif location.is_dead_letter:
        message.place = score_pb2.EVENT_PLACE_DEAD_LETTER
    return message


def _dead_letter(dead_letter: DeadLetter) -> score_pb2.DeadLetter:
    message = score_pb2.DeadLetter(
        letter_id=dead_letter.letter_id,
        reason=dead_letter.reason,
        subject=dead_letter.subject,
        sequence=dead_letter.sequence,
        state=_STATE_OF[dead_letter.state],
        payload=dead_letter.payload,
    )
    message.timestamp.FromMilliseconds(dead_letter.at)
    return message


def _flag(flag: Flag) -> score_pb2.Flag:
    message = score_pb2.Flag(
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
    message.timestamp.FromMilliseconds(flag.at)
    return message


def _resealed(reseal: Reseal) -> messages.ResealedBoard:
    return messages.ResealedBoard(
        board=reseal.board,
        version=reseal.version,
        players=reseal.players,
        changed=reseal.changed,
        changes=[messages.RankChange(**change._asdict()) for change in reseal.changes[:_MAX_CHANGES]],
    )


def _seal(seal: Seal) -> score_pb2.Seal:
    message = score_pb2.Seal(
        user_id=seal.user_id,
        first_revision=seal.first,
        last_revision=seal.last,
        delta=seal.delta,
        actor=seal.actor,
    )
    message.sealed_at.FromMilliseconds(seal.recorded_at)
    return message


def _progress(step: Progress) -> score_pb2.Progress:
    return score_pb2.Progress(stage=step.stage, done=step.done, total=step.total)
