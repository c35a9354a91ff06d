"""Importing several quiz files: a bad one never ends the others, and each problem has a line that names its file."""

from __future__ import annotations

from pathlib import Path

from services.cli.quizzes.quiz_import import import_quizzes

GOOD = (
    '{"id": "%s", "title": "Good", "questions": [{"id": "q1", "text": "True?", "kind": "true_false", "correct": true}]}'
)
FILES = {
    "first.json": GOOD % "first",
    "surrogate.json": (GOOD % "surrogate").replace("True?", "\\ud800"),
    "offset.json": (GOOD % "offset").replace('"title"', '"opensAt": "2026-11-23T18:00:00+99:99", "title"'),
    "twice.json": (GOOD % "twice").replace('"correct": true', '"correct": true, "correct": false'),
    "unknown.txt": "A letter to nobody.",
    "broken.xml": "<quiz><question",
    "same.json": GOOD % "first",
    "bank.gift": "Water is wet. {T}\n\nEssay? {}\n\nSugar is salt. {F}\n",
    "last.json": GOOD % "last",
}


async def test_a_bad_file_never_ends_the_others(tmp_path: Path) -> None:
    files = [tmp_path / name for name in (*FILES, "missing.json")]
    for file in files[:-1]:
        file.write_text(FILES[file.name])
    taken: list[str] = []
    problems: list[str] = []
    failed = await import_quizzes(None, files, on_success=taken.append, on_problem=problems.append)
    valid = [Path(line.partition(":")[0]).name for line in taken if ": valid: " in line]
    assert valid == ["first.json", "bank.gift", "last.json"], "what is good is taken, also of a file with a bad item"
    told = [line.removeprefix(f"{tmp_path}/").partition(": ") for line in problems]
    assert {name: problem for name, _, problem in told} == {
        "surrogate.json": "questions[0].text: must not contain the control character U+D800",
        "offset.json": "opensAt: must be a time such as 2026-11-23T18:00:00Z",
        "twice.json": "questions[0]: the key 'correct' is there twice",
        "unknown.txt": "$: unknown format; known are Open Trivia DB JSON, Topten JSON, Moodle XML, XLSX, "
        "QTI and Canvas, CSV, Aiken, GIFT",
        "broken.xml": "line 1: must be well-formed XML (unclosed token)",
        "same.json": f"id: first is also that of {tmp_path}/first.json",
        "bank.gift": "line 3: refused: questions of the kind 'essay' are not supported",
        "missing.json": "No such file or directory",
    }
    assert failed == len(problems) == len(files) - 2
