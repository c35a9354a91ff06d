"""Export quizzes of a running system to files, with their answer keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from topten.quiz.v1 import quiz_service_pb2 as messages

from services.cli.system.client import Endpoints
from services.cli.system.operator_client import quiz_service
from services.quiz.formats.registry import WRITERS, write
from services.runtime.errors import Reason, ServiceError
from services.runtime.files import replace_file
from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub

MAX_PAGE: Final = 50
Report = Callable[[str], None]


async def export_quizzes(
    endpoints: Endpoints,
    quiz_ids: Sequence[str] | None,
    written: str,
    folder: Path,
    *,
    on_success: Report,
    on_problem: Report,
) -> int:
    """Write quizzes, or all of them, to `<id><suffix>` in a folder; return how many could not be written.

    `written` is a format of WRITERS. A file is readable by its owner alone, and whole or not there. What the format does not
    keep is reported. Raises ServiceError if the quiz service is away or admits nobody.
    """
    failed = 0
    async with quiz_service(endpoints) as (stub, token):
        async for quiz_id in _named(quiz_ids) if quiz_ids else _all(stub, token):
            try:
                exported = await _exported(stub, token, quiz_id)
                content, lost = write(exported.definition, written)
                file = folder / f"{exported.definition.quiz_id}{WRITERS[written].SUFFIX}"
                _save(file, content)
            except _ExportError as error:
                failed += 1
                on_problem(str(error))
                continue
            on_success(f"{file}: version {exported.version}")
            if lost:
                on_problem(f"{file}: {WRITERS[written].TITLE} does not keep {', '.join(lost)}")
    return failed


class _ExportError(Exception):
    """A quiz cannot be written; the message names it or its file, and why."""


async def _exported(stub: QuizServiceAsyncStub, token: str, quiz_id: str) -> messages.ExportQuizResponse:
    try:
        return await call(stub.ExportQuiz, messages.ExportQuizRequest(quiz_id=quiz_id), token=token)
    except ServiceError as error:
        if error.reason not in {Reason.QUIZ_NOT_FOUND, Reason.INVALID_ARGUMENT}:
            raise
        raise _ExportError(f"{quiz_id}: {error.message}") from error


def _save(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, content)
    except OSError as error:
        raise _ExportError(f"{file}: {error.strerror or type(error).__name__}") from error


async def _named(quiz_ids: Sequence[str]) -> AsyncIterator[str]:
    for quiz_id in quiz_ids:
        yield quiz_id


async def _all(stub: QuizServiceAsyncStub, token: str) -> AsyncIterator[str]:
    request = messages.ListQuizzesRequest(page_size=MAX_PAGE)
    while True:
        page = await call(stub.ListQuizzes, request, token=token)
        for quiz in page.quizzes:
            yield quiz.quiz_id
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
