"""Real-shaped files of each format: what becomes of every item is in the file beside it, called `*.report`."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import openpyxl
import pytest

from services.quiz.formats.registry import read
from services.quiz.formats.source import FormatError, Source
from services.quiz.formats.topten.json_questions import write_question
from tests.quiz_files import FOLDER, SAMPLES, content_of, packed

SHOWN = {"id", "text", "points", "options"}
TEXTS = [path for path in SAMPLES if path.is_file() and path.suffix != ".xml" and path.name != "latin1.quiz"]


def report_of(path: Path, content: bytes | None = None) -> str:
    """The report of a file, or of other content of its name, and what its questions became."""
    lines: list[str] = []
    try:
        reports = read(content_of(path) if content is None else content, path.stem)
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


MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
LINE_ENDS = {"windows": ["\r\n"], "old": ["\r"], "mixed": ["\n", "\r\n"]}


@pytest.mark.parametrize("ends", LINE_ENDS)
@pytest.mark.parametrize("encoding", MARKS)
@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_encoding_and_line_ends_of_a_text_make_no_difference(path: Path, encoding: str, ends: str) -> None:
    text = Source(path.read_bytes()).text
    lines = text.split("\n")
    ended = "".join(line + end for line, end in zip(lines[:-1], itertools.cycle(LINE_ENDS[ends]), strict=False))
    content = MARKS[encoding] + (ended + lines[-1]).encode(encoding)
    assert report_of(path, content) == path.with_name(f"{path.name}.report").read_text()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-15"])
@pytest.mark.parametrize("ends", LINE_ENDS)
@pytest.mark.parametrize("path", sorted(FOLDER.glob("moodle-*.xml")), ids=lambda path: path.name)
def test_encoding_and_line_ends_of_xml_make_no_difference(path: Path, ends: str, encoding: str) -> None:
    declared = re.compile(r'encoding="([^"]*)"')
    content = path.read_bytes()
    found = declared.search(content.decode("ascii", "replace"))
    assert found is not None
    text = declared.sub(f'encoding="{encoding.removesuffix("-sig")}"', content.decode(found[1]), count=1)
    lines = text.split("\n")
    ended = "".join(line + end for line, end in zip(lines[:-1], itertools.cycle(LINE_ENDS[ends]), strict=False))
    content = (ended + lines[-1]).encode(encoding, "xmlcharrefreplace")
    assert report_of(path, content) == path.with_name(f"{path.name}.report").read_text()


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


def test_questions_of_gift_without_an_empty_line_between_are_not_one() -> None:
    [report] = read(b"::A:: x {=1 ~2}\n::B:: y {~3 ~4}\n\n::C:: Which? {=$y^{2}$ ~$z_{1}$ ~3}\n", "x")
    assert [str(item) for item in report.items] == [
        "line 1: refused: has answers twice; an empty line must stand between questions",
        "line 4: taken",
    ]


UNREADABLE = {
    "damaged": (b"PK\x03\x04 and no more", "must be a whole ZIP"),
    "without a quiz": (packed({"readme.xml": b"<readme/>"}), "unknown format; known are"),
    "outside": (packed({"../a.xml": QUIZ, "a.xml": b"<assessmentItem/>"}), "must be a name inside the package"),
    "absolute": (packed({"/etc/a.xml": b"<assessmentItem/>"}), "must be a name inside the package"),
    "bomb": (packed({"a.xml": b"<assessmentItem>" + b" " * 5_000_000 + b"</assessmentItem>"}), "200 times its size"),
    "too many": (packed({f"{number}.xml": b"<assessmentItem/>" for number in range(2001)}), "at most 2000 files"),
    "no workbook": (packed({"xl/workbook.xml": b"<workbook/>"}), "must be a whole workbook"),
    "an image": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "unknown format; known are"),
    "another encoding": ("Größe?\nA. 1\nB. 2\nANSWER: A\n".encode("latin-1"), "line 1: must be UTF-8 (byte 0xf6)"),
    "JSON with an end too early": (b'{"id": "x",\n "title": "t",\n}', "line 3: must be JSON"),
    "JSON without an end": (b'{"id":' * 50_000, "nested too deep"),
    "a JSON number without an end": (b'{"id": ' + b"9" * 5000 + b"}", "a number with too many digits"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_cannot_be_read_says_why(name: str) -> None:
    content, why = UNREADABLE[name]
    with pytest.raises(FormatError, match=re.escape(why)):
        read(content, "x")


def test_libraries_for_sheets_and_xml_are_imported_only_for_them() -> None:
    code = (
        "import sys, services.cli.quizzes.quiz_import; print(sorted({'openpyxl', 'defusedxml'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
