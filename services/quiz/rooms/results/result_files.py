"""The results of a room as CSV, XLSX or JSON. Pure.

Nicknames and questions are untrusted: a spreadsheet must never evaluate them as formulas.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from services.quiz.rooms.results.results import Results

# Prefixes that make a CSV cell a formula (OWASP, CSV injection). An apostrophe in front of one makes the cell text.
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
Cell = str | int | float | None
Table = Iterator[Sequence[Cell]]


class Format(StrEnum):
    """The format of a file, and for CSV, which holds one table, the table."""

    JSON = "json"
    XLSX = "xlsx"
    PLAYERS_CSV = "players_csv"
    QUESTIONS_CSV = "questions_csv"


MEDIA_TYPES: Final = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class ResultFile(NamedTuple):
    """A file with the name under which to save it."""

    name: str
    media_type: str
    content: bytes


def file_of(results: Results, written: Format) -> ResultFile:
    """Return the results as a file."""
    kind = written.value.rpartition("_")[2]
    match written:
        case Format.JSON:
            tables = {"questions": _objects(questions(results)), "players": _objects(players(results))}
            content = json.dumps({"roomId": results.room.room_id, **tables}, ensure_ascii=False, indent=1).encode()
        case Format.XLSX:
            content = _xlsx({"Players": players(results), "Questions": questions(results)})
        case Format.PLAYERS_CSV:
            content = _csv(players(results))
        case Format.QUESTIONS_CSV:
            content = _csv(questions(results))
    about = written.value.removesuffix(kind).rstrip("_")
    name = "-".join(part for part in ("room", results.room.pin, about) if part)
    return ResultFile(f"{name}.{kind}", MEDIA_TYPES[kind], content)


def players(results: Results) -> Table:
    """Yield a header and a row for each player: place, name, points, the attempt, and the points of each answer."""
    yield "rank", "nickname", "points", "attempt", *(each.question_id for each in results.questions)
    for place in results.places:
        seat = place.seat
        marks = [results.marks.get(each.question, {}).get(seat.seat_id) for each in results.questions]
        earned = (None if mark is None else mark.points for mark in marks)
        yield place.rank, seat.nickname, place.points, results.attempts.get(seat.seat_id), *earned


def questions(results: Results) -> Table:
    """Yield a header and a row for each revealed question."""
    yield "question", "text", "answered", "right", "difficulty", "discrimination"
    for each in results.questions:
        shares = (None if share is None else round(share, 4) for share in (each.difficulty, each.discrimination))
        yield each.question_id, each.text, each.answered, each.right, *shares


def _objects(table: Table) -> list[dict[str, Cell]]:
    header = [str(name) for name in next(table)]
    return [dict(zip(header, row, strict=True)) for row in table]


def _csv(table: Table) -> bytes:
    """Return a table as CSV (RFC 4180), with the byte order mark by which spreadsheets recognize UTF-8."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_defused(cell) for cell in row] for row in table)
    return text.getvalue().encode("utf-8-sig")


def _defused(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def _xlsx(tables: dict[str, Table]) -> bytes:
    import openpyxl  # noqa: PLC0415  # half a second, which the start of a process is spared
    from openpyxl.cell import WriteOnlyCell  # noqa: PLC0415  # slow to import, and rarely needed

    book = openpyxl.Workbook(write_only=True)
    for title, table in tables.items():
        sheet = book.create_sheet(title)
        for row in table:
            cells: list[Any] = [WriteOnlyCell(sheet, value=cell) for cell in row]
            for cell, value in zip(cells, row, strict=True):
                if isinstance(value, str):
                    cell.data_type = "s"
            sheet.append(cells)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()
