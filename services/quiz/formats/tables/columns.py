"""Questions as rows of a table: our columns, and those of Kahoot's template. Shared by CSV and XLSX."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from services.quiz.formats.decimals import decimal
from services.quiz.formats.draft import (
    MATCHING,
    MULTIPLE_CHOICE,
    NUMERIC,
    ORDERING,
    SHORT_TEXT,
    SINGLE_CHOICE,
    TRUE_FALSE,
    Choice,
    Item,
    QuizDraft,
    Text,
)
from services.quiz.formats.source import FormatError

MAX_ROWS: Final = 5000
MAX_COLUMNS: Final = 64
# Kahoot's template has a page of instructions above its header.
MAX_ROWS_ABOVE: Final = 30
# Between the texts that are accepted.
SEPARATOR: Final = "|"
_NUMBERED: Final = re.compile(r"(option|answer|choice|target)[ _-]*(\d{1,2})\b.*", re.DOTALL)
_TRUTHS: Final = {"true": True, "false": False}
Row = tuple[int, Sequence[str]]
"""The number of a row in its file, and its cells."""


class Header:
    """Which column of a table has what."""

    def __init__(self, cells: Sequence[str]) -> None:
        self.unknown: list[str] = []
        self._columns: dict[str, int] = {}
        options: dict[int, int] = {}
        targets: dict[int, int] = {}
        for index, cell in enumerate(cells):
            name = " ".join(cell.split()).casefold()
            if numbered := _NUMBERED.fullmatch(name):
                (targets if numbered[1] == "target" else options).setdefault(int(numbered[2]), index)
            elif word := next(
                (word for word in _WORDS if name == word or name.startswith(_LONGER.get(word, "\0"))), ""
            ):
                self._columns.setdefault(word, index)
            elif name:
                self.unknown.append(cell.strip()[:40])
        self._options = [options[number] for number in sorted(options)]
        self._targets = [targets[number] for number in sorted(targets)]

    @property
    def is_complete(self) -> bool:
        """Whether there are questions and right answers."""
        return {"question", "correct"} <= self._columns.keys()

    def cell(self, cells: Sequence[str], word: str) -> str:
        """Return the cell of a row; empty if the table has no such column."""
        return _cell(cells, self._columns.get(word, len(cells)))

    def options(self, cells: Sequence[str]) -> list[str]:
        """Return the options of a row up to the last one that is not empty."""
        return _listed(cells, self._options)

    def targets(self, cells: Sequence[str]) -> list[str]:
        """Return the targets of a row, as its options."""
        return _listed(cells, self._targets)


def _cell(cells: Sequence[str], index: int) -> str:
    return cells[index].strip() if index < len(cells) else ""


def _listed(cells: Sequence[str], indexes: Iterable[int]) -> list[str]:
    found = [_cell(cells, index) for index in indexes]
    while found and not found[-1]:
        found.pop()
    return found


_WORDS: Final = (
    "id",
    "question",
    "kind",
    "points",
    "correct",
    "time limit",
    "weights",
    "tolerance",
    "case sensitive",
    "partial",
    "explanation",
)
_LONGER: Final = {"question": "question -", "correct": "correct answer", "time limit": "time limit"}


def find_header(rows: Iterable[Row]) -> tuple[int, Header] | None:
    """Return the number and the columns of the header among the first rows."""
    for number, cells in rows:
        if number > MAX_ROWS_ABOVE:
            break
        header = Header(cells)
        if header.is_complete:
            return number, header
    return None


def read_rows(rows: Sequence[Row]) -> QuizDraft:
    """Read a table. Raises FormatError if no row is a header."""
    found = find_header(rows)
    if found is None:
        raise FormatError("$: has no row with the columns question and correct")
    first, header = found
    draft = QuizDraft(changes=[f"the column {name!a} was left out" for name in header.unknown])
    draft.items = [
        _item(number, header, cells)
        for number, cells in rows
        if number > first and any(header.cell(cells, word) for word in _WORDS[:5])
    ]
    return draft


def _item(number: int, header: Header, cells: Sequence[str]) -> Item:
    item = Item(f"row {number}", Text(header.cell(cells, "question")), id=header.cell(cells, "id"))
    options = header.options(cells)
    correct = header.cell(cells, "correct")
    item.explanation = Text(header.cell(cells, "explanation"))
    if header.cell(cells, "time limit"):
        item.changes.append("the time limit was left out")
    item.kind = header.cell(cells, "kind")[:64] or _kind_of(options, correct)
    item.choices = [Choice(Text(text)) for text in options]
    try:
        if points := header.cell(cells, "points"):
            item.points = _points(points)
        item.case_sensitive = _flag(header, cells, "case sensitive")
        item.partial = _flag(header, cells, "partial")
        _fill(item, header, cells, correct)
    except ValueError as error:
        item.fault = str(error)
    return item


def _kind_of(options: Sequence[str], correct: str) -> str:
    """Return the kind of a row that does not say it."""
    words = sorted(option.casefold() for option in options)
    if (not options and correct.casefold() in _TRUTHS) or words == ["false", "true"]:
        return TRUE_FALSE
    return MULTIPLE_CHOICE if len(_numbers(correct)) > 1 else SINGLE_CHOICE


def _fill(item: Item, header: Header, cells: Sequence[str], correct: str) -> None:
    """Fill the answer key. Raises ValueError for a cell that is wrong."""
    match item.kind:
        case kind if kind == TRUE_FALSE:
            options = header.options(cells)
            right = _numbers(correct)
            chosen = options[right[0] - 1] if len(right) == 1 and 0 < right[0] <= len(options) else correct
            item.truth = _TRUTHS.get(chosen.casefold())
        case kind if kind in {SINGLE_CHOICE, MULTIPLE_CHOICE}:
            for index in _indexes(correct, len(item.choices), "correct: must be the number of an option"):
                item.choices[index].share = 1
            if weights := header.cell(cells, "weights"):
                _weigh(item, weights)
        case kind if kind == NUMERIC:
            tolerance = header.cell(cells, "tolerance")
            item.number = decimal(correct)
            item.tolerance = decimal(tolerance) if tolerance else ""
        case kind if kind == SHORT_TEXT:
            item.accepted = [Text(text.strip()) for text in correct.split(SEPARATOR)]
        case kind if kind == ORDERING:
            item.order = _indexes(correct, len(item.choices), "correct: must be the numbers of all options in order")
        case kind if kind == MATCHING:
            item.targets = [Text(text) for text in header.targets(cells)]
            fault = "correct: must be the number of the target of each option"
            indexes = _indexes(correct, len(item.targets), fault)
            if len(indexes) != len(item.choices):
                raise ValueError(fault)
            for choice, index in zip(item.choices, indexes, strict=True):
                choice.target = item.targets[index]


def _weigh(item: Item, cell: str) -> None:
    """Set the shares of options to a cell such as `50,-50,50`."""
    weights = _parts(cell)
    if len(weights) != len(item.choices) or not all(re.fullmatch(r"-?[0-9]{1,3}", weight) for weight in weights):
        raise ValueError("weights: must be the whole percents of all options")
    item.partial = True
    right = [choice.share > 0 for choice in item.choices]
    for choice, weight in zip(item.choices, weights, strict=True):
        choice.share = int(weight) / 100
    if [choice.share > 0 for choice in item.choices] != right:
        raise ValueError("weights: must be above 0 for the right options alone")


def _points(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("points: must be a number") from None


def _flag(header: Header, cells: Sequence[str], word: str) -> bool:
    cell = header.cell(cells, word).casefold()
    if cell and cell not in _TRUTHS:
        raise ValueError(f"{word}: must be true or false")
    return _TRUTHS.get(cell, False)


def _indexes(cell: str, count: int, fault: str) -> list[int]:
    """Return the indexes of a cell of numbers from 1 to a count."""
    numbers = _numbers(cell)
    if not numbers or not all(0 < number <= count for number in numbers):
        raise ValueError(fault)
    return [number - 1 for number in numbers]


def _numbers(cell: str) -> list[int]:
    """Return the numbers in a cell such as `2` or `1,3`; none if it is something else."""
    parts = _parts(cell)
    return [int(part) for part in parts] if all(re.fullmatch(r"[0-9]{1,3}", part) for part in parts) else []


def _parts(cell: str) -> list[str]:
    return [part.strip() for part in re.split(r"[,;]", cell)]
