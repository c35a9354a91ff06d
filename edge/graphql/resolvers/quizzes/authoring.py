"""Quizzes as their authors see them: drafts with answer keys, publishing and sharing."""

from __future__ import annotations

import asyncio
from datetime import datetime
from enum import Enum
from typing import Annotated, Self

import strawberry
from google.protobuf.timestamp_pb2 import Timestamp
from topten.authoring.v1 import authoring_pb2
from topten.authoring.v1 import authoring_service_pb2 as messages

from edge.graphql.execution.context import Info
from edge.graphql.fields import Page, field, rpc
from edge.graphql.resolvers.paging import After, PageInfo, UpTo50, page_info
from edge.graphql.resolvers.quizzes.files import TYPICAL_ITEMS, FileFault, QuizFileMutation, QuizFileQuery, QuizId
from edge.graphql.resolvers.types import User, account
from edge.times import time_of

MAX_QUIZZES = 50
TYPICAL_EDITORS = 2
MAX_VERSIONS = 20
Version = Annotated[int, strawberry.argument(description="The `version` that the author saw.")]


@strawberry.enum(
    description="Where a quiz stands. DRAFT: never published. SCHEDULED: published, opens later. OPEN: players may answer it. "
    "ARCHIVED: closed, and not listed for players."
)
class QuizState(Enum):
    DRAFT = authoring_pb2.QUIZ_STATE_DRAFT
    SCHEDULED = authoring_pb2.QUIZ_STATE_SCHEDULED
    OPEN = authoring_pb2.QUIZ_STATE_OPEN
    CLOSED = authoring_pb2.QUIZ_STATE_CLOSED
    ARCHIVED = authoring_pb2.QUIZ_STATE_ARCHIVED


@strawberry.type(description="A quiz in the list of its authors.")
class AuthoredQuiz:
    id: strawberry.ID
    title: str = strawberry.field(description="The title of the draft; may be empty.")
    state: QuizState
    version: int = strawberry.field(description="The published version; 0 if there is none.")
    changed: bool = strawberry.field(description="Whether the draft has changes that are not published.")
    revision: int = strawberry.field(
        description="Counts the changes of the draft. A save states what it was made from."
    )
    question_count: int = strawberry.field(description="The number of questions of the draft.")
    opens_at: datetime | None = strawberry.field(description="When the published version opens; null for at once.")
    closes_at: datetime | None = strawberry.field(description="When the published version closes; null for never.")
    changed_at: datetime | None = strawberry.field(description="When the draft was last changed or published.")
    owner_id: strawberry.ID | None = strawberry.field(description="Null if the quiz belongs to the operators.")
    editor_ids: list[strawberry.ID] = strawberry.field(description="Accounts that may edit and publish the quiz too.")

    @field(cost=10, description="The account of `ownerId`; null without one.")
    async def owner(self, info: Info) -> User | None:
        return await account(info, self.owner_id)

    @field(cost=10, size=TYPICAL_EDITORS, description="The accounts of `editorIds` that still exist.")
    async def editors(self, info: Info) -> list[User]:
        found = await asyncio.gather(*(account(info, user_id) for user_id in self.editor_ids))
        return [user for user in found if user is not None]

    @classmethod
    def from_proto(cls, quiz: authoring_pb2.AuthoredQuiz) -> Self:
        times = {
            name: time_of(getattr(quiz, name)) if quiz.HasField(name) else None
            for name in ("opens_at", "closes_at", "changed_at")
        }
        return cls(
            id=strawberry.ID(quiz.quiz_id),
            title=quiz.title,
            state=QuizState(quiz.state),
            version=quiz.version,
            changed=quiz.changed,
            revision=quiz.revision,
            question_count=quiz.questions,
            owner_id=strawberry.ID(quiz.owner_id) if quiz.owner_id else None,
            editor_ids=[strawberry.ID(user_id) for user_id in quiz.editor_ids],
            **times,
        )


@strawberry.type(description="A draft with its answer keys.")
class QuizDraft:
    quiz: AuthoredQuiz
    document: str = strawberry.field(description="A quiz file in Topten's JSON, which may be unfinished.")
    faults: list[FileFault] = field(
        size=TYPICAL_ITEMS, description="Everything that keeps the draft from being published, at most 200."
    )

    @classmethod
    def from_proto(cls, draft: authoring_pb2.Draft) -> Self:
        return cls(
            quiz=AuthoredQuiz.from_proto(draft.quiz),
            document=draft.document,
            faults=[FileFault.from_proto(fault) for fault in draft.faults],
        )


@strawberry.type(description="A version of a quiz: the current one, or one that was replaced.")
class QuizVersion:
    version: int = strawberry.field(description="The version, from 1.")
    title: str
    question_count: int
    published_at: datetime | None = strawberry.field(
        description="When it was published; null for a first version that an earlier release stored."
    )
    current: bool = strawberry.field(description="Whether players see this one.")

    @classmethod
    def from_proto(cls, version: authoring_pb2.QuizVersion) -> Self:
        return cls(
            version=version.version,
            title=version.title,
            question_count=version.questions,
            published_at=time_of(version.published_at) if version.HasField("published_at") else None,
            current=version.current,
        )


@strawberry.type(description="A quiz of a page.")
class AuthoredQuizEdge:
    cursor: str = strawberry.field(description="Pass it as `after` to continue behind this quiz.")
    node: AuthoredQuiz


@strawberry.type(description="A page of an author's quizzes.")
class AuthoredQuizConnection:
    edges: list[AuthoredQuizEdge] = field(size=1)  # as many as the page has
    page_info: PageInfo


@strawberry.type(description="A published quiz.")
class QuizPublication:
    quiz: AuthoredQuiz
    changed: bool = strawberry.field(description="False if the published version was already the same.")


@strawberry.input(description="A draft to store.")
class SaveQuizDraftInput:
    quiz_id: strawberry.ID = strawberry.field(description="Lower-case letters, digits and `-`, up to 64 characters.")
    document: str = strawberry.field(
        description="A quiz file in Topten's JSON, whose `id` is that of the quiz. It may be unfinished."
    )
    revision: int = strawberry.field(description="The `revision` that it was made from; 0 creates a quiz.")


@strawberry.input(description="When a quiz opens and closes. A new version has these times.")
class ScheduleQuizInput:
    quiz_id: strawberry.ID
    opens_at: datetime | None = strawberry.field(default=None, description="Null for at once.")
    closes_at: datetime | None = strawberry.field(default=None, description="Null for never.")
    version: int = strawberry.field(description="The `version` that the author saw.")


@strawberry.input(description="The authors of a quiz, who replace the present ones.")
class ShareQuizInput:
    quiz_id: strawberry.ID
    owner_id: strawberry.ID | None = strawberry.field(default=None, description="Null for the operators.")
    editor_ids: list[strawberry.ID] = strawberry.field(default_factory=list, description="At most 20 accounts.")


@strawberry.type
class AuthoringQuery(QuizFileQuery):
    @field(
        access=rpc("authoring.ListAuthoredQuizzes"),
        cost=30,
        size=Page("first", MAX_QUIZZES),
        description="The quizzes that the caller owns or edits, by ID, archived ones included.",
    )
    async def authored_quizzes(
        self,
        info: Info,
        first: UpTo50 = 20,
        after: After = None,
        all: Annotated[bool, strawberry.argument(description="Every quiz; for admins.")] = False,
    ) -> AuthoredQuizConnection | None:
        context = info.context
        request = messages.ListAuthoredQuizzesRequest(page_size=first, page_token=after or "", all=all)
        response = await context.call(context.upstreams.authoring.ListAuthoredQuizzes, request)
        edges = [
            AuthoredQuizEdge(cursor=cursor, node=AuthoredQuiz.from_proto(quiz))
            for cursor, quiz in zip(response.cursors, response.quizzes, strict=True)
        ]
        return AuthoredQuizConnection(
            edges=edges, page_info=page_info(response.cursors, response.next_page_token, after)
        )

    @field(access=rpc("authoring.GetDraft"), cost=60, description="The draft of a quiz, with its answer keys.")
    async def quiz_draft(self, info: Info, id: QuizId) -> QuizDraft | None:
        context = info.context
        response = await context.call(context.upstreams.authoring.GetDraft, messages.GetDraftRequest(quiz_id=id))
        return QuizDraft.from_proto(response.draft)

    @field(
        access=rpc("authoring.ListQuizVersions"),
        cost=60,
        size=MAX_VERSIONS,
        description="The current version of a quiz and those that it replaced, newest first, at most 20.",
    )
    async def quiz_versions(
        self,
        info: Info,
        id: QuizId,
        before: Annotated[int, strawberry.argument(description="Only versions below this one; 0 for the newest.")] = 0,
    ) -> list[QuizVersion] | None:
        context = info.context
        request = messages.ListQuizVersionsRequest(quiz_id=id, before=before)
        response = await context.call(context.upstreams.authoring.ListQuizVersions, request)
        return [QuizVersion.from_proto(version) for version in response.versions]


@strawberry.type
class AuthoringMutation(QuizFileMutation):
    @field(
        access=rpc("authoring.SaveDraft"),
        cost=200,
        rate="write",
        description="Stores a draft, which players do not see. VERSION_CONFLICT if somebody else changed it since `revision`.",
    )
    async def save_quiz_draft(self, info: Info, input: SaveQuizDraftInput) -> QuizDraft | None:
        context = info.context
        request = messages.SaveDraftRequest(quiz_id=input.quiz_id, document=input.document, revision=input.revision)
        return QuizDraft.from_proto((await context.call(context.upstreams.authoring.SaveDraft, request)).draft)

    @field(
        access=rpc("authoring.PublishQuiz"),
        cost=200,
        rate="write",
        description="Makes a draft the next version of its quiz, if draft and version are still those that the author saw.",
    )
    async def publish_quiz(
        self,
        info: Info,
        id: QuizId,
        revision: Annotated[int, strawberry.argument(description="The `revision` of the draft that the author saw.")],
        version: Version,
    ) -> QuizPublication | None:
        context = info.context
        request = messages.PublishQuizRequest(quiz_id=id, revision=revision, version=version)
        response = await context.call(context.upstreams.authoring.PublishQuiz, request)
        return QuizPublication(quiz=AuthoredQuiz.from_proto(response.quiz), changed=response.changed)

    @field(
        access=rpc("authoring.RestoreQuizVersion"),
        cost=200,
        rate="write",
        description="Replaces a draft with a version of its quiz, without its times, if the draft is still at `revision`. "
        "Publishing it makes a new version.",
    )
    async def restore_quiz_version(
        self,
        info: Info,
        id: QuizId,
        version: Annotated[int, strawberry.argument(description="The version to edit again.")],
        revision: Annotated[int, strawberry.argument(description="The `revision` of the draft that the author saw.")],
    ) -> QuizDraft | None:
        context = info.context
        request = messages.RestoreQuizVersionRequest(quiz_id=id, version=version, revision=revision)
        response = await context.call(context.upstreams.authoring.RestoreQuizVersion, request)
        return QuizDraft.from_proto(response.draft)

    @field(
        access=rpc("authoring.ScheduleQuiz"),
        cost=200,
        rate="write",
        description="Sets when a published quiz opens and closes. Unpublished changes stay.",
    )
    async def schedule_quiz(self, info: Info, input: ScheduleQuizInput) -> AuthoredQuiz | None:
        context = info.context
        request = messages.ScheduleQuizRequest(quiz_id=input.quiz_id, version=input.version)
        _set(request.opens_at, input.opens_at)
        _set(request.closes_at, input.closes_at)
        response = await context.call(context.upstreams.authoring.ScheduleQuiz, request)
        return AuthoredQuiz.from_proto(response.quiz)

    @field(access=rpc("authoring.CloseQuiz"), cost=200, rate="write", description="Closes a published quiz now.")
    async def close_quiz(self, info: Info, id: QuizId) -> AuthoredQuiz | None:
        context = info.context
        response = await context.call(context.upstreams.authoring.CloseQuiz, messages.CloseQuizRequest(quiz_id=id))
        return AuthoredQuiz.from_proto(response.quiz)

    @field(
        access=rpc("authoring.ArchiveQuiz"),
        cost=200,
        rate="write",
        description="Closes a quiz and takes it off the lists; what players did stays. For its owner.",
    )
    async def archive_quiz(self, info: Info, id: QuizId) -> AuthoredQuiz | None:
        context = info.context
        response = await context.call(context.upstreams.authoring.ArchiveQuiz, messages.ArchiveQuizRequest(quiz_id=id))
        return AuthoredQuiz.from_proto(response.quiz)

    @field(
        access=rpc("authoring.DuplicateQuiz"),
        cost=200,
        rate="write",
        description="Makes a draft of another ID, which the caller owns, without the schedule.",
    )
    async def duplicate_quiz(
        self,
        info: Info,
        id: QuizId,
        copy_id: Annotated[strawberry.ID, strawberry.argument(description="The ID of the copy.")],
    ) -> QuizDraft | None:
        context = info.context
        request = messages.DuplicateQuizRequest(quiz_id=id, copy_id=copy_id)
        return QuizDraft.from_proto((await context.call(context.upstreams.authoring.DuplicateQuiz, request)).draft)

    @field(
        access=rpc("authoring.ShareQuiz"),
        cost=200,
        rate="write",
        description="Sets the owner and the editors of a quiz. For its owner and admins.",
    )
    async def share_quiz(self, info: Info, input: ShareQuizInput) -> AuthoredQuiz | None:
        context = info.context
        authors = authoring_pb2.Authors(owner_id=input.owner_id or "", editor_ids=input.editor_ids)
        request = messages.ShareQuizRequest(quiz_id=input.quiz_id, authors=authors)
        return AuthoredQuiz.from_proto((await context.call(context.upstreams.authoring.ShareQuiz, request)).quiz)


def _set(timestamp: Timestamp, at: datetime | None) -> None:
    if at is not None:
        timestamp.FromDatetime(at)
