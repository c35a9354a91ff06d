"""CSV: a table with commas, semicolons or tabs between its cells. `columns` says which columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Final

from topten.quiz.v1 import quiz_pb2

from services.quiz.formats.assembly import assemble
from services.quiz.formats.report import QuizReport
from services.quiz.formats.source import FormatError, Source
from services.quiz.formats.tables import columns
from services.quiz.formats.tables.rows import written_rows

TITLE: Final = "CSV"
SUFFIX: Final = ".csv"
_DELIMITERS: Final = ",;\t"


def recognizes(source: Source) -> bool:
    """Whether one of the first rows has the columns of questions."""
    return source.is_text and _delimiter(source.text) != ""


def read(source: Source) -> list[QuizReport]:
    """Read every row."""
    rows: list[columns.Row] = []
    try:
        for row in _rows(source.text, _delimiter(source.text)):
            if len(rows) >= columns.MAX_ROWS:
                raise FormatError(f"$: must have at most {columns.MAX_ROWS} rows")
            rows.append(row)
    except csv.Error as error:
        raise FormatError(f"row {len(rows) + 1}: must be CSV ({error})") from None
    return assemble([columns.read_rows(rows)], source.name)


def write(definition: quiz_pb2.QuizDefinition) -> bytes:
    """Write a row for each question."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(written_rows(definition))
    return text.getvalue().encode()


def _delimiter(text: str) -> str:
    """Return the delimiter with which a header is found; empty if there is none."""
    head = "".join(text.splitlines(keepends=True)[: 2 * columns.MAX_ROWS_ABOVE])
    for delimiter in _DELIMITERS:
        try:
            if columns.find_header(_rows(head, delimiter)):
                return delimiter
        except csv.Error:
            continue
    return ""


def _rows(text: str, delimiter: str) -> Iterator[columns.Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    for number, cells in enumerate(reader, 1):
        yield number, cells[: columns.MAX_COLUMNS]
