"""Real-shaped files of each format: what becomes of every item is in the file beside it, called `*.report`."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import openpyxl
import pytest

from services.quiz.formats.registry import read
from services.quiz.formats.source import FormatError
from services.quiz.formats.topten.json_questions import write_question
from tests.quiz_files import FOLDER, SAMPLES, content_of, packed

SHOWN = {"id", "text", "points", "options"}


def report_of(path: Path) -> str:
    """The report of a file, and what its questions became."""
    lines: list[str] = []
    try:
        reports = read(content_of(path), path.stem)
    except FormatError as error:
        return "".join(f"{problem}\n" for problem in error.problems)
    for report in reports:
        quiz = report.definition
        lines += [f"{quiz.quiz_id} | {quiz.title} | {report.summary}", *report.changes, *report.faults]
        lines += [f"  {item}" for item in report.items]
        for entry in quiz.questions:
            right = {entry.correct_option, *entry.correct_options}
            options = " | ".join(
                f"{'*' if option.id in right else ''}{option.id}: {option.text!r}" for option in entry.question.options
            )
            lines.append(f"  {entry.question.id} {entry.question.text!r} {entry.question.points}")
            lines += [f"    {options}"] if options else []
            key = {name: value for name, value in write_question(entry).items() if name not in SHOWN}
            lines.append(f"    {json.dumps(key, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_every_item_of_a_file_has_its_outcome(path: Path) -> None:
    assert report_of(path) == path.with_name(f"{path.name}.report").read_text()


def test_kahoots_template_is_the_same_as_a_sheet() -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in csv.reader(io.StringIO((FOLDER / "kahoot.csv").read_text())):
        sheet.append([int(cell) if cell.isdigit() else cell or None for cell in row])
    content = io.BytesIO()
    book.save(content)
    [from_sheet], [from_text] = (read(each, "x") for each in (content.getvalue(), (FOLDER / "kahoot.csv").read_bytes()))
    assert from_sheet == from_text


QUIZ = b"<quiz><question type='truefalse'></question></quiz>"
PACKAGES = {
    "damaged": b"PK\x03\x04 and no more",
    "without a quiz": packed({"readme.xml": b"<readme/>"}),
    "outside": packed({"../a.xml": QUIZ, "a.xml": b"<assessmentItem/>"}),
    "absolute": packed({"/etc/a.xml": b"<assessmentItem/>"}),
    "bomb": packed({"a.xml": b"<assessmentItem>" + b" " * 5_000_000 + b"</assessmentItem>"}),
    "too many": packed({f"{number}.xml": b"<assessmentItem/>" for number in range(2001)}),
    "no workbook": packed({"xl/workbook.xml": b"<workbook/>"}),
}


@pytest.mark.parametrize("name", PACKAGES)
def test_packages_out_of_bounds_are_refused(name: str) -> None:
    with pytest.raises(FormatError):
        read(PACKAGES[name], "x")


def test_libraries_for_sheets_and_xml_are_imported_only_for_them() -> None:
    code = (
        "import sys, services.cli.quizzes.quiz_import; print(sorted({'openpyxl', 'defusedxml'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
