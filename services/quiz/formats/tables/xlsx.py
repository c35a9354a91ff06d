"""XLSX: the first sheet with a header that `columns` knows, as Kahoot's template has one."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any, Final

from topten.quiz.v1 import quiz_pb2

from services.quiz.formats.assembly import assemble
from services.quiz.formats.package import Package, is_package
from services.quiz.formats.report import QuizReport
from services.quiz.formats.source import FormatError, Source
from services.quiz.formats.tables import columns
from services.quiz.formats.tables.rows import written_rows

TITLE: Final = "XLSX"
SUFFIX: Final = ".xlsx"
MAX_SHEETS: Final = 10
_WORKBOOK: Final = "xl/workbook.xml"


def recognizes(source: Source) -> bool:
    """Whether it is a package with a workbook."""
    return is_package(source.content) and _WORKBOOK in _names(source.content)


def read(source: Source) -> list[QuizReport]:
    """Read every row of the sheet."""
    Package(source.content)  # its bounds
    rows: list[columns.Row] = []
    for rows in _sheets(source.content):
        if columns.find_header(rows):
            break
    return assemble([columns.read_rows(rows)], source.name)


def write(definition: quiz_pb2.QuizDefinition) -> bytes:
    """Write a row for each question, as text that no program calculates."""
    import openpyxl

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Questions")
    from openpyxl.cell import WriteOnlyCell

    for row in written_rows(definition):
        cells = [WriteOnlyCell(sheet, value=text) for text in row]
        for cell in cells:
            cell.data_type = "s"
        sheet.append(cells)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def _names(content: bytes) -> list[str]:
    try:
        return zipfile.ZipFile(io.BytesIO(content)).namelist()
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, EOFError, OSError):
        return []


def _sheets(content: bytes) -> Iterator[list[columns.Row]]:
    """Yield the rows of each sheet. Raises FormatError."""
    import openpyxl

    try:
        with warnings.catch_warnings(action="ignore"):  # of features that a table does not need
            book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
            for sheet in book.worksheets[:MAX_SHEETS]:
                bounds = {"max_row": columns.MAX_ROWS, "max_col": columns.MAX_COLUMNS}
                yield [
                    (number, [_text(cell) for cell in row])
                    for number, row in enumerate(sheet.iter_rows(min_row=1, values_only=True, **bounds), 1)
                ]
    except Exception as error:  # noqa: BLE001  # the library raises whatever a damaged workbook leads it to
        raise FormatError(f"$: must be a whole workbook ({type(error).__name__})") from None


def _text(cell: Any) -> str:
    """Return a cell as the text that its author sees; of a date it is not known."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)
