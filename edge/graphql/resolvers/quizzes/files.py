"""Quiz files: import with a report for each item, and export."""

from __future__ import annotations

import base64
import binascii
from enum import Enum
from typing import Annotated, Self

import strawberry
from topten.authoring.v1 import authoring_pb2
from topten.authoring.v1 import authoring_service_pb2 as messages

from edge.graphql.execution.context import Info
from edge.graphql.fields import field, rpc
from services.runtime.errors import invalid

TYPICAL_ITEMS = 20
QuizId = Annotated[strawberry.ID, strawberry.argument(description="The ID of the quiz.")]


@strawberry.enum(description="A format of quiz files. JSON, Topten's own, keeps everything.")
class QuizFileFormat(Enum):
    JSON = authoring_pb2.FILE_FORMAT_JSON
    GIFT = authoring_pb2.FILE_FORMAT_GIFT
    AIKEN = authoring_pb2.FILE_FORMAT_AIKEN
    CSV = authoring_pb2.FILE_FORMAT_CSV
    XLSX = authoring_pb2.FILE_FORMAT_XLSX
    MOODLE = authoring_pb2.FILE_FORMAT_MOODLE
    QTI = authoring_pb2.FILE_FORMAT_QTI


@strawberry.enum(description="What an import does with an item of a file. REFUSED items are left out of their quiz.")
class ItemOutcome(Enum):
    TAKEN = authoring_pb2.ITEM_OUTCOME_TAKEN
    CHANGED = authoring_pb2.ITEM_OUTCOME_CHANGED
    REFUSED = authoring_pb2.ITEM_OUTCOME_REFUSED


@strawberry.type(description="A fault of a draft or a file.")
class FileFault:
    place: str = strawberry.field(
        description="Where it is: a path such as `questions[0].options[1].text`, or a place such as `line 12`; `$` is the "
        "whole."
    )
    line: int | None = strawberry.field(description="The line, from 1; null if it is not known.")
    message: str = strawberry.field(description="What is wrong, such as `is missing`.")

    @classmethod
    def from_proto(cls, fault: authoring_pb2.FileFault) -> Self:
        return cls(place=fault.place, line=fault.line or None, message=fault.message)


@strawberry.type(description="An item of a file, and what the import does with it.")
class FileItem:
    place: str
    line: int | None = strawberry.field(description="The line, from 1; null if it is not known.")
    outcome: ItemOutcome
    notes: list[str] = strawberry.field(description="How it is changed, or why it is refused.")


@strawberry.type(description="A quiz of a file.")
class FileQuiz:
    quiz_id: strawberry.ID = strawberry.field(description="The ID that the quiz has or would have.")
    title: str
    items: list[FileItem] = field(size=TYPICAL_ITEMS, description="The items of the file, in its order.")
    changes: list[str] = strawberry.field(description="What is changed about the quiz itself.")
    faults: list[FileFault] = field(
        size=TYPICAL_ITEMS, description="Everything that keeps the quiz from being stored; empty if it is, or can be."
    )
    revision: int | None = strawberry.field(description="The revision of the stored draft; null if none was stored.")
    replaces: bool = strawberry.field(description="Whether the author has a quiz of this ID, whose draft is replaced.")

    @classmethod
    def from_proto(cls, quiz: authoring_pb2.FileQuiz) -> Self:
        items = [
            FileItem(place=i.place, line=i.line or None, outcome=ItemOutcome(i.outcome), notes=[*i.notes])
            for i in quiz.items
        ]
        return cls(
            quiz_id=strawberry.ID(quiz.quiz_id),
            title=quiz.title,
            items=items,
            changes=[*quiz.changes],
            faults=[FileFault.from_proto(fault) for fault in quiz.faults],
            revision=quiz.revision or None,
            replaces=quiz.replaces,
        )


@strawberry.type(description="What became of a file.")
class QuizImport:
    quizzes: list[FileQuiz] = field(size=1, description="The quizzes of the file.")
    faults: list[FileFault] = field(size=1, description="Why the file could not be read; empty if it could.")


@strawberry.type(description="A quiz as a file, with its answer keys.")
class QuizFile:
    name: str = strawberry.field(description="The quiz's ID and the ending of the format.")
    base64: str = strawberry.field(description="The content of the file.")
    lost: list[str] = strawberry.field(description="The places of the quiz that the format cannot express.")
    version: int = strawberry.field(description="The version of the quiz; 0 for a draft.")


@strawberry.input(description="A quiz file of any known format, which is recognized by its content.")
class ImportQuizInput:
    name: str = strawberry.field(description="The file's name without its ending, up to 120 characters.")
    base64: str = strawberry.field(description="The content of the file, in base64.")
    dry_run: bool = strawberry.field(description="True to store nothing and learn what would become of each item.")
    replace: bool = strawberry.field(default=False, description="True to replace drafts of quizzes that exist.")

    def content(self) -> bytes:
        """Return the file. Raises INVALID_ARGUMENT."""
        try:
            content = base64.b64decode(self.base64, validate=True)
        except (binascii.Error, ValueError):
            raise invalid("base64", "must be base64") from None
        if not content:
            raise invalid("base64", "must not be empty")
        return content


@strawberry.type
class QuizFileQuery:
    @field(
        access=rpc("authoring.ExportFile"),
        cost=200,
        rate="export",
        description="A quiz as a file, with its answer keys: the published version, or a draft that was never published.",
    )
    async def export_quiz(self, info: Info, id: QuizId, format: QuizFileFormat) -> QuizFile | None:
        context = info.context
        request = messages.ExportFileRequest(quiz_id=id, format=format.value)
        file = await context.call(context.upstreams.authoring.ExportFile, request)
        return QuizFile(
            name=file.name, base64=base64.b64encode(file.content).decode(), lost=[*file.lost], version=file.version
        )


@strawberry.type
class QuizFileMutation:
    @field(
        access=rpc("authoring.ImportFile"),
        cost=500,
        rate="write",
        description="Reads a quiz file and stores its quizzes as drafts, each whole or not at all; on a dry run nothing.",
    )
    async def import_quiz(self, info: Info, input: ImportQuizInput) -> QuizImport | None:
        context = info.context
        request = messages.ImportFileRequest(
            content=input.content(), name=input.name, dry_run=input.dry_run, replace=input.replace
        )
        response = await context.call(context.upstreams.authoring.ImportFile, request)
        return QuizImport(
            quizzes=[FileQuiz.from_proto(quiz) for quiz in response.quizzes],
            faults=[FileFault.from_proto(fault) for fault in response.faults],
        )
