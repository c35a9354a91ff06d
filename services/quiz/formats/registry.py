"""The formats, and which of them a file has. A format is recognized by its content, never by the name of the file."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Final

from topten.quiz.v1 import quiz_pb2

from services.quiz.formats import aiken, opentdb
from services.quiz.formats.contract import file_path
from services.quiz.formats.gift import gift
from services.quiz.formats.moodle import moodle_xml
from services.quiz.formats.package import Package, is_package
from services.quiz.formats.qti import qti
from services.quiz.formats.report import QuizReport
from services.quiz.formats.source import FormatError, Source
from services.quiz.formats.tables import csv_table, xlsx
from services.quiz.formats.topten import topten_json

# Each module has TITLE, `recognizes(source)`, which is quick and raises nothing, and `read(source)`, which raises FormatError.
# The first that recognizes a file reads it: the stricter ones come first. Some have SUFFIX and `write(definition)`.
FORMATS: Final[tuple[ModuleType, ...]] = (
    opentdb,
    topten_json,
    moodle_xml,
    xlsx,
    qti,
    csv_table,
    aiken,
    gift,
)

WRITERS: Final[Mapping[str, ModuleType]] = {
    "json": topten_json,
    "gift": gift,
    "aiken": aiken,
    "csv": csv_table,
    "xlsx": xlsx,
    "moodle": moodle_xml,
    "qti": qti,
}


def write(definition: quiz_pb2.QuizDefinition, written: str) -> tuple[bytes, list[str]]:
    """Return a quiz in the format WRITERS[written], and what an import of it would not give back.

    The second is found by that import: the places that differ, none if the format can express all of the quiz.
    """
    content: bytes = WRITERS[written].write(definition)
    try:
        reports = read(content, definition.quiz_id)
    except FormatError as error:
        return content, error.problems
    return content, differences(definition, reports[0].definition)


def differences(one: quiz_pb2.QuizDefinition, other: quiz_pb2.QuizDefinition) -> list[str]:
    """Return the places of a quiz that another does not have, in the words of a quiz file."""
    found = [
        file_path(field.name)
        for field in one.DESCRIPTOR.fields
        if field.name != "questions" and getattr(one, field.name) != getattr(other, field.name)
    ]
    known = {entry.question.id: entry for entry in other.questions}
    lost = [index for index, entry in enumerate(one.questions) if known.get(entry.question.id) != entry]
    return [*found, *(f"questions[{index}]" for index in lost)]


def read(content: bytes, name: str) -> list[QuizReport]:
    """Return the quizzes of a file, each with a report of its items.

    `name` is the file's name without its ending. Raises FormatError if there is none that could be reported about: the
    format is unknown, the file is damaged or too large.
    """
    source = Source(content, name)
    if not content.strip():
        raise FormatError("$: is empty")
    for known in FORMATS:
        if known.recognizes(source):
            reports: list[QuizReport] = known.read(source)
            if not reports:
                raise FormatError(f"$: has no question ({known.TITLE})")
            return reports
    if is_package(content):
        Package(content)  # says what is wrong with it, if that is why
    elif not source.is_binary:
        source.text  # noqa: B018  # says what is wrong with the encoding, if that is why
    titles = ", ".join(known.TITLE for known in FORMATS)
    raise FormatError(f"$: unknown format; known are {titles}")
