"""gRPC: request → service → response."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import grpc
from topten.quiz.v1 import quiz_service_pb2 as messages
from topten.quiz.v1 import quiz_service_pb2_grpc
from topten.score.v1.confirmation_pb2 import COUNTED

from services.quiz.amendments.moderation import Moderation
from services.quiz.amendments.rejudging import Progress, Rejudging
from services.quiz.attempts.service import AttemptService
from services.quiz.authoring.authorship import Authorship
from services.quiz.authoring.draft_store import DraftStore
from services.quiz.personal_data_store import PersonalDataStore, Record
from services.quiz.questions.answers import answer_message
from services.quiz.relay import Relay
from services.quiz.rooms.personal_data import RoomPersonalData
from services.quiz.service import QuizService
from services.quiz.submissions.confirmed_submission import ConfirmedSubmission
from services.quiz.submissions.messages import RELAYED_SUBMISSIONS, action_of, response_of
from services.quiz.submissions.record_restoration import RecordRestoration
from services.quiz.submissions.reviews import Reviews
from services.quiz.submissions.service import SubmissionService
from services.runtime.grpc.call_context import caller
from services.runtime.int32 import int32

Context = grpc.aio.ServicerContext[Any, Any]


class QuizServicer(quiz_service_pb2_grpc.QuizServiceServicer):
    """The methods of `topten.quiz.v1.QuizService`.

    Writes are shielded from cancellation: a caller that hangs up would otherwise cost the driver its connection.
    """

    def __init__(
        self,
        quizzes: QuizService,
        authorship: Authorship,
        submissions: SubmissionService,
        confirmed: ConfirmedSubmission,
        reviews: Reviews,
        relay: Relay,
        moderation: Moderation,
        rejudging: Rejudging,
        restoration: RecordRestoration,
        personal_data: PersonalDataStore,
        room_data: RoomPersonalData,
        attempts: AttemptService,
        drafts: DraftStore,
        now: Callable[[], datetime],
    ) -> None:
        self._quizzes = quizzes
        self._authorship = authorship
        self._submissions = submissions
        self._confirmed = confirmed
        self._reviews = reviews
        self._relay = relay
        self._moderation = moderation
        self._rejudging = rejudging
        self._restoration = restoration
        self._personal_data = personal_data
        self._room_data = room_data
        self._attempts = attempts
        self._drafts = drafts
        self._now = now

    async def ListQuizzes(self, request: messages.ListQuizzesRequest, context: Context) -> messages.ListQuizzesResponse:
        """See quiz_service.proto."""
        page = await self._quizzes.quizzes(request.page_size, request.page_token, request.tag, _player())
        return messages.ListQuizzesResponse(
            quizzes=page.quizzes,
            cursors=page.cursors,
            next_page_token=page.cursors[-1] if page.has_more else "",
            total_size=page.total,
        )

    async def GetQuiz(self, request: messages.GetQuizRequest, context: Context) -> messages.GetQuizResponse:
        """See quiz_service.proto."""
        return messages.GetQuizResponse(quiz=await self._quizzes.quiz(request.quiz_id, _player()))

    async def GetAttempts(self, request: messages.GetAttemptsRequest, context: Context) -> messages.GetAttemptsResponse:
        """See quiz_service.proto."""
        used = await self._submissions.attempts_used(caller().user_id, request.quiz_id)
        return messages.GetAttemptsResponse(used=used)

    async def SubmitAction(
        self, request: messages.SubmitActionRequest, context: Context
    ) -> messages.SubmitActionResponse:
        """See quiz_service.proto."""
        action = action_of(request, caller())
        if request.wait == COUNTED:
            confirmed = await self._confirmed.submit(action, request.boards)
            return response_of(
                confirmed.submission,
                duplicate=confirmed.duplicate,
                total=confirmed.total,
                standings=confirmed.standings,
            )
        submission, duplicate = await self._submissions.submit_action(action)  # shared with others: not canceled
        return response_of(submission, duplicate=duplicate)

    async def ReviewAction(
        self, request: messages.ReviewActionRequest, context: Context
    ) -> messages.ReviewActionResponse:
        """See quiz_service.proto."""
        submission = await self._reviews.review(caller().user_id, request.action_id)
        return messages.ReviewActionResponse(quiz_id=submission.quiz_id, action=response_of(submission, duplicate=True))

    async def SubmitActionGroup(
        self, request: messages.SubmitActionGroupRequest, context: Context
    ) -> messages.SubmitActionGroupResponse:
        """See quiz_service.proto."""
        submitting = self._relay.submit(request.actions, RELAYED_SUBMISSIONS, self._submissions.submit_actions)
        results = await asyncio.shield(submitting)
        return messages.SubmitActionGroupResponse(results=results)

    async def ListSubmittedEvents(
        self, request: messages.ListSubmittedEventsRequest, context: Context
    ) -> AsyncIterator[messages.ListSubmittedEventsResponse]:
        """See quiz_service.proto."""
        since = request.since.ToDatetime(UTC) if request.HasField("since") else None
        async for events, total in self._submissions.submitted_events(since):
            yield messages.ListSubmittedEventsResponse(
                events=[
                    messages.SubmittedEvent(
                        event_id=event.event_id,
                        user_id=event.user_id,
                        score_delta=int32(event.delta),
                        published=event.published,
                    )
                    for event in events
                ],
                total=total,
            )

    async def RepublishEvents(
        self, request: messages.RepublishEventsRequest, context: Context
    ) -> messages.RepublishEventsResponse:
        """See quiz_service.proto."""
        event_ids = await self._moderation.republish(request.event_ids, only_check=request.only_check)
        return messages.RepublishEventsResponse(event_ids=event_ids)

    async def RestoreRecords(
        self, request: messages.RestoreRecordsRequest, context: Context
    ) -> messages.RestoreRecordsResponse:
        """See quiz_service.proto."""
        events = [(each.event, each.counted) for each in request.events]
        restored = await asyncio.shield(self._restoration.restore(events))
        return messages.RestoreRecordsResponse(records=[messages.RestoredRecord(event=event) for event in restored])

    async def GetOutbox(self, request: messages.GetOutboxRequest, context: Context) -> messages.GetOutboxResponse:
        """See quiz_service.proto."""
        response = messages.GetOutboxResponse()
        oldest = await self._submissions.oldest_unpublished()
        if oldest is not None:
            response.oldest_waiting_at.FromDatetime(oldest)
        return response

    async def VoidAction(self, request: messages.VoidActionRequest, context: Context) -> messages.VoidActionResponse:
        """See quiz_service.proto."""
        voiding = self._moderation.void_action(
            request.user_id, request.action_id, request.reason, actor=caller().user_id
        )
        amendment, duplicate = await asyncio.shield(voiding)
        return messages.VoidActionResponse(
            event_id=amendment.event_id, score_delta=int32(amendment.delta), duplicate=duplicate
        )

    async def AdjustScore(self, request: messages.AdjustScoreRequest, context: Context) -> messages.AdjustScoreResponse:
        """See quiz_service.proto."""
        adjusting = self._moderation.adjust_score(
            request.user_id, request.delta, request.reason, request.action_id, actor=caller().user_id
        )
        amendment, duplicate = await asyncio.shield(adjusting)
        return messages.AdjustScoreResponse(
            event_id=amendment.event_id, duplicate=duplicate, score_delta=int32(amendment.delta)
        )

    async def ExportPlayer(
        self, request: messages.ExportPlayerRequest, context: Context
    ) -> messages.ExportPlayerResponse:
        """See quiz_service.proto."""
        user_id = caller().user_id
        records, token = await self._personal_data.records(user_id, request.page_token)
        response = messages.ExportPlayerResponse(records=map(_record, records), next_page_token=token)
        if not request.page_token:
            for quiz_id, at in (await self._personal_data.deliveries(user_id)).items():
                response.deliveries.add(quiz_id=quiz_id).delivered_at.FromDatetime(at)
        return response

    async def ErasePlayer(self, request: messages.ErasePlayerRequest, context: Context) -> messages.ErasePlayerResponse:
        """See quiz_service.proto."""
        erasing = asyncio.gather(
            self._personal_data.erase(request.user_id, request.pseudonym, self._now()),
            self._room_data.erase(request.user_id, request.pseudonym),
            self._drafts.erase(request.user_id),
        )
        await asyncio.shield(self._attempts.erase(request.user_id, request.pseudonym))
        return messages.ErasePlayerResponse(records=sum(await asyncio.shield(erasing)))

    async def ImportQuiz(self, request: messages.ImportQuizRequest, context: Context) -> messages.ImportQuizResponse:
        """See quiz_service.proto."""
        claims, quiz_id = caller(), request.definition.quiz_id
        await self._authorship.require(claims, quiz_id)
        version, changed = await self._quizzes.import_quiz(request.definition, actor=claims.user_id)
        await self._authorship.claim(claims, quiz_id)
        return messages.ImportQuizResponse(version=version, changed=changed)

    async def RejudgeQuiz(
        self, request: messages.RejudgeQuizRequest, context: Context
    ) -> AsyncIterator[messages.RejudgeQuizResponse]:
        """See quiz_service.proto."""
        await self._authorship.require(caller(), request.quiz_id)
        progress = self._rejudging.rejudge(
            request.quiz_id, request.reason, actor=caller().user_id, dry_run=request.dry_run
        )
        each = Progress(0)
        async for each in progress:
            yield _progress(each)
        response = _progress(each)
        response.tags.extend(sorted(each.reach.tags))
        response.countries.extend(sorted(each.reach.countries))
        for time in each.reach.times:
            response.changed_at.add().FromDatetime(time)
        yield response

    async def ExportQuiz(self, request: messages.ExportQuizRequest, context: Context) -> messages.ExportQuizResponse:
        """See quiz_service.proto."""
        await self._authorship.require(caller(), request.quiz_id)
        stored = await self._quizzes.export_quiz(request.quiz_id, actor=caller().user_id)
        return messages.ExportQuizResponse(definition=stored.definition, version=stored.version)


def _progress(progress: Progress) -> messages.RejudgeQuizResponse:
    return messages.RejudgeQuizResponse(
        version=progress.version,
        actions=progress.actions,
        changed=progress.changed,
        players=[messages.RejudgedPlayer(**player._asdict()) for player in progress.players],
    )


def _record(record: Record) -> messages.PlayerRecord:
    message = messages.PlayerRecord(
        event_id=record.event_id,
        kind=record.kind,
        action_id=record.action_id,
        quiz_id=record.quiz_id,
        answers=map(answer_message, record.answers),
        points=record.points,
        correct_answers=record.correct,
        score_delta=int32(record.delta),
        country=record.country,
        reason=record.reason,
        action_type_id=record.action_type_id,
        metadata=json.loads(record.metadata) if record.metadata else {},
        submitted_by=record.submitted_by,
    )
    if record.happened is not None:
        setattr(message, *record.happened)
    if record.client_time is not None:
        message.client_time.FromDatetime(record.client_time)
    message.received_at.FromDatetime(record.received_at)
    return message


def _player() -> str:
    """Return the id of the calling player; empty if the caller is not a player."""
    claims = caller()
    return claims.user_id if "player" in claims.roles else ""
