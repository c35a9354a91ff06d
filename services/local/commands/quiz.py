"""`topten quiz import`: quiz files into a running system."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, cast

import typer
from topten.quiz.v1 import quiz_service_pb2 as messages
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub

from services.local.client import Endpoints, describe
from services.local.quiz_file import MAX_BYTES, QuizFileError, parse_quiz
from services.local.terminal import DATA, FOUND, USAGE, Data, err, fail, out, run
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc_client import call

if TYPE_CHECKING:
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub

SAMPLES: Final = Path(__file__).parent.parent / "quizzes"
Report = Callable[[str, str], None]
# What the contract calls otherwise than the file.
_IN_FILE = {
    "quiz_id": "id",
    "max_attempts": "max",
    "counting": "counts",
    "opens_at": "opensAt",
    "closes_at": "closesAt",
    "correct_option": "correct",
}


def import_files(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Quiz files; docs/quiz-format.md says what is in one.")
    ] = None,
    samples: Annotated[bool, typer.Option("--samples", help="The sample quizzes that come with Topten.")] = False,
    data: Data = DATA,
) -> None:
    """Store quizzes; one with an id that is there already replaces it. Every fault is named with its place in the file.

    Good files are stored even if others are not; exit code 1 says that some were not.
    """
    chosen = [*(files or []), *(sample_files() if samples else [])]
    if not chosen:
        fail("name quiz files, or --samples", USAGE)

    def report(file: str, line: str) -> None:
        err.print(f"{file}: {line}", markup=False, soft_wrap=True)

    async def work() -> int:
        return await store_quizzes(
            Endpoints.load(data),
            chosen,
            stored=lambda file, line: out.print(f"{file}: {line}", markup=False, soft_wrap=True),
            bad=report,
        )

    if run(work()):
        raise typer.Exit(FOUND)


def sample_files() -> list[Path]:
    """The sample quizzes of this distribution."""
    return sorted(SAMPLES.glob("*.json"))


async def store_quizzes(endpoints: Endpoints, files: Sequence[Path], *, stored: Report, bad: Report) -> int:
    """Import files by the operator's token; how many were not stored. Each outcome is told with the file's name."""
    failed = 0
    async with endpoints.operator() as token, endpoints.channel("quiz") as channel:
        stub = cast("QuizServiceAsyncStub", QuizServiceStub(channel))
        for file in files:
            try:
                request = messages.ImportQuizRequest(definition=parse_quiz(_read(file)))
                answer = await call(stub.ImportQuiz, request, token=token)
            except OSError as error:
                problems = [error.strerror or type(error).__name__]
            except QuizFileError as error:
                problems = error.problems
            except ServiceError as error:
                if error.reason is not Reason.INVALID_ARGUMENT:
                    raise
                problems = [f"{_place(field)}: {text}" for field, text in error.violations] or [describe(error)]
            else:
                stored(str(file), f"version {answer.version}" + ("" if answer.changed else ", unchanged"))
                continue
            failed += 1
            for problem in problems:
                bad(str(file), problem)
    return failed


def _place(field: str) -> str:
    """Where in the file that is what the contract calls `field`."""
    steps = field.removeprefix("definition").lstrip(".").replace(".question.", ".").split(".")
    return ".".join(_IN_FILE.get(step, step) for step in steps) or "$"


def _read(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)
