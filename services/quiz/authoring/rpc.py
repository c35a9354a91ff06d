"""gRPC of authoring: request → service → response."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

import grpc
from topten.authoring.v1 import authoring_pb2, authoring_service_pb2_grpc
from topten.authoring.v1 import authoring_service_pb2 as messages

from services.quiz.authoring.draft import Fault
from services.quiz.authoring.exchange import Exchange, FileQuiz
from services.quiz.authoring.service import AuthoredQuiz, AuthoringService, Opened, Version
from services.quiz.formats.report import CHANGED, REFUSED, TAKEN
from services.runtime.grpc.call_context import caller

Context = grpc.aio.ServicerContext[Any, Any]
_FORMATS: Final[Mapping[int, str]] = {
    authoring_pb2.FILE_FORMAT_UNSPECIFIED: "json",
    authoring_pb2.FILE_FORMAT_JSON: "json",
    authoring_pb2.FILE_FORMAT_GIFT: "gift",
    authoring_pb2.FILE_FORMAT_AIKEN: "aiken",
    authoring_pb2.FILE_FORMAT_CSV: "csv",
    authoring_pb2.FILE_FORMAT_XLSX: "xlsx",
    authoring_pb2.FILE_FORMAT_MOODLE: "moodle",
    authoring_pb2.FILE_FORMAT_QTI: "qti",
}
_OUTCOMES: Final = {
    TAKEN: authoring_pb2.ITEM_OUTCOME_TAKEN,
    CHANGED: authoring_pb2.ITEM_OUTCOME_CHANGED,
    REFUSED: authoring_pb2.ITEM_OUTCOME_REFUSED,
}


class AuthoringServicer(authoring_service_pb2_grpc.AuthoringServiceServicer):
    """The methods of `topten.authoring.v1.AuthoringService`. Writes are shielded from cancellation."""

    def __init__(self, authoring: AuthoringService, exchange: Exchange) -> None:
        self._authoring = authoring
        self._exchange = exchange

    async def ListAuthoredQuizzes(
        self, request: messages.ListAuthoredQuizzesRequest, context: Context
    ) -> messages.ListAuthoredQuizzesResponse:
        """See authoring_service.proto."""
        page = await self._authoring.quizzes(caller(), request.page_size, request.page_token, every=request.all)
        return messages.ListAuthoredQuizzesResponse(
            quizzes=map(_quiz, page.quizzes),
            cursors=page.cursors,
            next_page_token=page.cursors[-1] if page.has_more else "",
        )

    async def GetDraft(self, request: messages.GetDraftRequest, context: Context) -> messages.GetDraftResponse:
        """See authoring_service.proto."""
        return messages.GetDraftResponse(draft=_draft(await self._authoring.open(caller(), request.quiz_id)))

    async def SaveDraft(self, request: messages.SaveDraftRequest, context: Context) -> messages.SaveDraftResponse:
        """See authoring_service.proto."""
        saving = self._authoring.save(caller(), request.quiz_id, request.document, request.revision)
        return messages.SaveDraftResponse(draft=_draft(await asyncio.shield(saving)))

    async def PublishQuiz(self, request: messages.PublishQuizRequest, context: Context) -> messages.PublishQuizResponse:
        """See authoring_service.proto."""
        publishing = self._authoring.publish(caller(), request.quiz_id, request.revision, request.version)
        quiz, changed = await asyncio.shield(publishing)
        return messages.PublishQuizResponse(quiz=_quiz(quiz), changed=changed)

    async def ListQuizVersions(
        self, request: messages.ListQuizVersionsRequest, context: Context
    ) -> messages.ListQuizVersionsResponse:
        """See authoring_service.proto."""
        versions = await self._authoring.versions(caller(), request.quiz_id, request.before)
        return messages.ListQuizVersionsResponse(versions=map(_version, versions))

    async def RestoreQuizVersion(
        self, request: messages.RestoreQuizVersionRequest, context: Context
    ) -> messages.RestoreQuizVersionResponse:
        """See authoring_service.proto."""
        restoring = self._authoring.restore(caller(), request.quiz_id, request.version, request.revision)
        return messages.RestoreQuizVersionResponse(draft=_draft(await asyncio.shield(restoring)))

    async def ScheduleQuiz(
        self, request: messages.ScheduleQuizRequest, context: Context
    ) -> messages.ScheduleQuizResponse:
        """See authoring_service.proto."""
        opens_at = request.opens_at if request.HasField("opens_at") else None
        closes_at = request.closes_at if request.HasField("closes_at") else None
        scheduling = self._authoring.schedule(caller(), request.quiz_id, opens_at, closes_at, request.version)
        return messages.ScheduleQuizResponse(quiz=_quiz(await asyncio.shield(scheduling)))

    async def CloseQuiz(self, request: messages.CloseQuizRequest, context: Context) -> messages.CloseQuizResponse:
        """See authoring_service.proto."""
        closing = self._authoring.close(caller(), request.quiz_id)
        return messages.CloseQuizResponse(quiz=_quiz(await asyncio.shield(closing)))

    async def ArchiveQuiz(self, request: messages.ArchiveQuizRequest, context: Context) -> messages.ArchiveQuizResponse:
        """See authoring_service.proto."""
        archiving = self._authoring.archive(caller(), request.quiz_id)
        return messages.ArchiveQuizResponse(quiz=_quiz(await asyncio.shield(archiving)))

    async def DuplicateQuiz(
        self, request: messages.DuplicateQuizRequest, context: Context
    ) -> messages.DuplicateQuizResponse:
        """See authoring_service.proto."""
        duplicating = self._authoring.duplicate(caller(), request.quiz_id, request.copy_id)
        return messages.DuplicateQuizResponse(draft=_draft(await asyncio.shield(duplicating)))

    async def ShareQuiz(self, request: messages.ShareQuizRequest, context: Context) -> messages.ShareQuizResponse:
        """See authoring_service.proto."""
        authors = request.authors
        sharing = self._authoring.share(caller(), request.quiz_id, authors.owner_id, authors.editor_ids)
        return messages.ShareQuizResponse(quiz=_quiz(await asyncio.shield(sharing)))

    async def ImportFile(self, request: messages.ImportFileRequest, context: Context) -> messages.ImportFileResponse:
        """See authoring_service.proto."""
        taking = self._exchange.take(
            caller(), request.content, request.name, dry_run=request.dry_run, replace=request.replace
        )
        report = await asyncio.shield(taking)
        return messages.ImportFileResponse(quizzes=map(_file_quiz, report.quizzes), faults=_faults(report.faults))

    async def ExportFile(self, request: messages.ExportFileRequest, context: Context) -> messages.ExportFileResponse:
        """See authoring_service.proto."""
        file = await self._exchange.export(caller(), request.quiz_id, _FORMATS[request.format])
        return messages.ExportFileResponse(content=file.content, name=file.name, lost=file.lost, version=file.version)

    async def ExportOwnQuizzes(
        self, request: messages.ExportOwnQuizzesRequest, context: Context
    ) -> messages.ExportOwnQuizzesResponse:
        """See authoring_service.proto."""
        quizzes, token = await self._authoring.own(caller().user_id, request.page_token)
        return messages.ExportOwnQuizzesResponse(quizzes=map(_own, quizzes), next_page_token=token)


def _own(quiz: AuthoredQuiz) -> authoring_pb2.OwnQuiz:
    draft = quiz.draft
    message = authoring_pb2.OwnQuiz(quiz_id=draft.quiz_id, version=quiz.version, document=quiz.document)
    if draft.changed_at is not None:
        message.changed_at.FromDatetime(draft.changed_at)
    return message


def _quiz(quiz: AuthoredQuiz) -> authoring_pb2.AuthoredQuiz:
    draft, published = quiz.draft, quiz.published
    has_changes = draft.document is not None or published is None
    message = authoring_pb2.AuthoredQuiz(
        quiz_id=draft.quiz_id,
        title=draft.title if has_changes or published is None else published.definition.title,
        state=authoring_pb2.QuizState.Value(f"QUIZ_STATE_{quiz.state}"),
        version=quiz.version,
        changed=has_changes,
        revision=draft.revision,
        questions=draft.questions if has_changes or published is None else len(published.definition.questions),
        owner_id=draft.owner,
        editor_ids=draft.editors,
    )
    for field in ("opens_at", "closes_at"):
        if published is not None and published.definition.HasField(field):
            getattr(message, field).CopyFrom(getattr(published.definition, field))
    if draft.changed_at is not None:
        message.changed_at.FromDatetime(draft.changed_at)
    return message


def _version(version: Version) -> authoring_pb2.QuizVersion:
    definition = version.quiz.definition
    message = authoring_pb2.QuizVersion(
        version=version.quiz.version,
        title=definition.title,
        questions=len(definition.questions),
        current=version.is_current,
    )
    if version.published_at is not None:
        message.published_at.FromDatetime(version.published_at)
    return message


def _draft(opened: Opened) -> authoring_pb2.Draft:
    quiz = opened.quiz
    return authoring_pb2.Draft(quiz=_quiz(quiz), document=quiz.document, faults=_faults(opened.faults))


def _file_quiz(quiz: FileQuiz) -> authoring_pb2.FileQuiz:
    items = (
        authoring_pb2.FileItem(
            place=item.place, line=quiz.line(item), outcome=_OUTCOMES[item.outcome], notes=item.notes
        )
        for item in quiz.report.items
    )
    return authoring_pb2.FileQuiz(
        quiz_id=quiz.report.definition.quiz_id,
        title=quiz.report.definition.title,
        items=items,
        changes=quiz.report.changes,
        faults=_faults(quiz.faults),
        revision=quiz.revision,
        replaces=quiz.replaces,
    )


def _faults(faults: Iterable[Fault]) -> Iterable[authoring_pb2.FileFault]:
    return (authoring_pb2.FileFault(place=each.place, line=each.line, message=each.message) for each in faults)
