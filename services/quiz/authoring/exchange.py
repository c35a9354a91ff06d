"""Import and export of quiz files in any known format, with a report on each item."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from topten.quiz.v1 import quiz_pb2

from services.quiz.authoring.draft import Fault, document_of, draft_refused, located
from services.quiz.formats.registry import WRITERS, read, write
from services.quiz.formats.report import ItemReport, QuizReport
from services.quiz.formats.source import FormatError
from services.quiz.formats.topten.json_lines import line_of, lines_of
from services.runtime.errors import Reason, ServiceError

if TYPE_CHECKING:
    from services.quiz.authoring.service import AuthoredQuiz, AuthoringService
    from services.runtime.auth.claims import Claims

MAX_QUIZZES: Final = 100
_log = structlog.get_logger("authoring")


@dataclass(slots=True)
class FileQuiz:
    """A quiz of a file: the report on its items, the faults that keep it from being stored, and the stored revision or 0."""

    report: QuizReport
    lines: dict[str, int]
    faults: list[Fault]
    replaces: bool = False
    revision: int = 0

    def line(self, item: ItemReport) -> int:
        """Return the line of an item; 0 if it is not known."""
        return line_of(item.place, self.lines)


@dataclass(slots=True)
class FileReport:
    """The result of an import: the quizzes of the file, or the faults for which it cannot be read."""

    quizzes: list[FileQuiz] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


class Exported(NamedTuple):
    """A file, its name, the places that its format cannot express, and the version of the quiz."""

    content: bytes
    name: str
    lost: Sequence[str]
    version: int


class Exchange:
    """Imports files as drafts, and exports quizzes. Must never store a part of a quiz."""

    def __init__(self, authoring: AuthoringService) -> None:
        self._authoring = authoring
        # A file takes up to seconds: one at a time, beside the event loop.
        self._reading = asyncio.Semaphore()

    async def take(self, claims: Claims, content: bytes, name: str, *, dry_run: bool, replace: bool) -> FileReport:
        """Store the quizzes of a file as drafts; with `dry_run` store nothing, and report the same.

        A quiz with the id of another is refused, unless `replace` and the caller may edit that one. Raises LIMIT_REACHED.
        """
        try:
            async with self._reading:
                reports, lines = await asyncio.to_thread(_read, content, name)
        except FormatError as error:
            return FileReport(faults=located(error.problems, {}))
        if len(reports) > MAX_QUIZZES:
            return FileReport(faults=[Fault("$", 0, f"must have at most {MAX_QUIZZES} quizzes")])
        result, seen = FileReport(), set[str]()
        for report in reports:
            quiz = FileQuiz(report, lines, located(report.faults, lines))
            if report.definition.quiz_id in seen:
                quiz.faults.append(_id_fault("is that of another quiz of the file"))
            seen.add(report.definition.quiz_id)
            if not quiz.faults:
                await self._store(claims, quiz, dry_run=dry_run, replace=replace)
            result.quizzes.append(quiz)
        if not dry_run:
            stored = [quiz.report.definition.quiz_id for quiz in result.quizzes if quiz.revision]
            _log.info("file imported", quiz_ids=stored, actor=claims.user_id)
        return result

    async def export(self, claims: Claims, quiz_id: str, written: str) -> Exported:
        """Write a quiz in the format WRITERS[written]: the published version, or a draft that was never published.

        Raises QUIZ_NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT with every fault of such a draft.
        """
        quiz = await self._authoring.find(claims, quiz_id)
        if quiz.published is None:
            definition, faults = await self._authoring.check(quiz.document, quiz_id)
            if faults:
                raise draft_refused(faults)
        else:
            definition = quiz.published.definition
        async with self._reading:
            content, lost = await asyncio.to_thread(write, definition, written)
        _log.info("quiz exported", quiz_id=quiz_id, version=quiz.version, actor=claims.user_id)
        return Exported(content, f"{quiz_id}{WRITERS[written].SUFFIX}", lost, quiz.version)

    async def _store(self, claims: Claims, quiz: FileQuiz, *, dry_run: bool, replace: bool) -> None:
        """Store a quiz of a file, or add the fault that prevents it to the report."""
        definition = quiz.report.definition
        try:
            existing = await self._existing(claims, definition.quiz_id)
        except ServiceError as error:
            if error.reason != Reason.PERMISSION_DENIED:
                raise
            quiz.faults.append(_id_fault("is that of a quiz of other authors; rename the file"))
            return
        quiz.replaces = existing is not None
        if existing is not None and not replace:
            quiz.faults.append(_id_fault("is that of one of your quizzes; replace it, or rename the file"))
            return
        quiz.faults += (await self._authoring.check(document_of(definition), definition.quiz_id)).faults
        if dry_run or quiz.faults:
            return
        revision = existing.draft.revision if existing else 0
        quiz.revision = await self._save(claims, quiz, definition, revision)

    async def _save(self, claims: Claims, quiz: FileQuiz, definition: quiz_pb2.QuizDefinition, revision: int) -> int:
        try:
            saved = await self._authoring.save(claims, definition.quiz_id, document_of(definition), revision)
        except ServiceError as error:
            if error.reason != Reason.VERSION_CONFLICT:
                raise
            quiz.faults.append(_id_fault("is that of a quiz that was changed in this moment; import the file again"))
            return 0
        return max(saved.quiz.draft.revision, 1)

    async def _existing(self, claims: Claims, quiz_id: str) -> AuthoredQuiz | None:
        try:
            return await self._authoring.find(claims, quiz_id)
        except ServiceError as error:
            if error.reason != Reason.QUIZ_NOT_FOUND:
                raise
            return None


def _read(content: bytes, name: str) -> tuple[list[QuizReport], dict[str, int]]:
    reports = read(content, name)
    # Only in JSON are places paths, which have lines.
    lines = lines_of(content.decode("utf-8-sig")) if content.lstrip()[:1] == b"{" else {}
    return reports, lines


def _id_fault(message: str) -> Fault:
    return Fault("id", 0, message)
