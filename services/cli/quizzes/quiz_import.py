"""Import quiz files of every known format into a running system."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from topten.quiz.v1 import quiz_service_pb2 as messages

from services import embedded
from services.cli.system.client import Endpoints, describe
from services.cli.system.operator_client import quiz_service
from services.quiz.formats.contract import file_path
from services.quiz.formats.registry import read
from services.quiz.formats.report import CHANGED, QuizReport
from services.quiz.formats.source import MAX_BYTES, FormatError
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call
from services.runtime.texts import without_controls

if TYPE_CHECKING:
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub

SAMPLES: Final = Path(embedded.__file__).parent / "quizzes"
Report = Callable[[str], None]
# What refuses one file refuses all.
_ENDS: Final = frozenset((Reason.UNAVAILABLE, Reason.UNAUTHENTICATED, Reason.PERMISSION_DENIED))


def sample_files() -> list[Path]:
    """List the sample quizzes of this distribution."""
    return sorted(SAMPLES.glob("*.json"))


async def import_quizzes(
    endpoints: Endpoints | None, files: Sequence[Path], *, on_success: Report, on_problem: Report
) -> int:
    """Import files with the operator's token and return how many were not taken whole; none of them stops the others.

    Without `endpoints` the files are checked and nothing is stored. A quiz is stored by one call, so it is there whole or
    not at all. Every outcome is reported in one line that begins with the file's name: a quiz, an item that was changed or
    refused, a problem. Raises ServiceError if the quiz service is away or admits nobody.
    """
    failed = 0
    async with _service(endpoints) as (stub, token):
        importer = _Importer(stub, token, on_success, on_problem)
        for file in files:
            failed += not await importer.take(file)
    return failed


@asynccontextmanager
async def _service(endpoints: Endpoints | None) -> AsyncIterator[tuple[QuizServiceAsyncStub | None, str]]:
    if endpoints is None:
        yield None, ""
        return
    async with quiz_service(endpoints) as opened:
        yield opened


class _Importer:
    """Takes files one after another. `stub` None only checks them."""

    def __init__(self, stub: QuizServiceAsyncStub | None, token: str, on_success: Report, on_problem: Report) -> None:
        self._stub = stub
        self._token = token
        self._say = on_success
        self._warn = on_problem
        self._origins: dict[str, str] = {}

    async def take(self, file: Path) -> bool:
        """Import a file; return whether it was taken whole."""
        # The name of a file may have characters that no terminal takes.
        name = without_controls(str(file))
        try:
            quizzes = read(_content(file), file.stem)
        except OSError as error:
            self._warn(f"{name}: {error.strerror or type(error).__name__}")
            return False
        except FormatError as error:
            for problem in error.problems:
                self._warn(f"{name}: {problem}")
            return False
        return all([await self._store(name, quiz) for quiz in quizzes])

    async def _store(self, file: str, quiz: QuizReport) -> bool:
        quiz_id = quiz.definition.quiz_id
        faults = [*quiz.faults]
        if not faults and quiz_id in self._origins:
            faults.append(f"id: {quiz_id} is also that of {self._origins[quiz_id]}")
        outcome = "" if faults else await self._outcome(quiz, faults)
        if not faults:
            self._origins[quiz_id] = file
            self._say(f"{file}: {quiz_id}: {outcome}: {quiz.summary}")
        for change in quiz.changes:
            self._say(f"{file}: {change}")
        for item in quiz.items:
            if item.notes:
                (self._say if item.outcome == CHANGED else self._warn)(f"{file}: {item}")
            elif self._stub is None and not faults:
                self._say(f"{file}: {item}")
        for fault in faults:
            self._warn(f"{file}: {fault}")
        return not faults and not quiz.has_refusals

    async def _outcome(self, quiz: QuizReport, faults: list[str]) -> str:
        if self._stub is None:
            return "valid"
        try:
            request = messages.ImportQuizRequest(definition=quiz.definition)
            response = await call(self._stub.ImportQuiz, request, token=self._token)
        except ServiceError as error:
            if error.reason in _ENDS:
                raise
            # Of a service whose rules are not those of this command.
            faults += [f"{file_path(field)}: {text}" for field, text in error.violations] or [describe(error)]
            return ""
        return f"version {response.version}{'' if response.changed else ', unchanged'}"


def _content(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)
