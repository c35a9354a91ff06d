"""The language of the project: no retired word, in code, contracts, docs, chart or tests.

`retired_words.txt` lists them. The changelog keeps the words of its time.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORDS = Path(__file__).with_name("retired_words.txt")
RETIRED = dict(
    line.split(": ", 1) for line in WORDS.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")
)
# A phrase may continue on the next line, after the mark of a comment.
GAP = r"\s+(?:(?:#|//|\*|--)\s*)?"
PATTERN = re.compile(
    r"(?<!\w)(?:" + "|".join(GAP.join(map(re.escape, phrase.split())) for phrase in RETIRED) + r")(?!\w)", re.IGNORECASE
)
# What Git takes for binary: a picture has any word by chance.
BINARY = 8000
FOLDERS = (
    "services",
    "edge",
    "proto",
    "codegen",
    "docs",
    "deploy",
    "tests",
    ":(glob)*.md",
    "Makefile",
    "pyproject.toml",
)


def retired_words_in(folder: str) -> list[str]:
    """`file:line: word` of each retired word in the tracked files of a folder."""
    listed = subprocess.run(["git", "ls-files", "-z", folder], cwd=ROOT, capture_output=True, text=True, check=True)
    hits = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path == WORDS or name == "CHANGELOG.md" or not path.is_file():
            continue
        body = path.read_bytes()
        if b"\0" in body[:BINARY]:
            continue
        text = body.decode("utf-8", "ignore")
        hits += [
            f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {' '.join(match[0].split())}"
            for match in PATTERN.finditer(text)
        ]
    return hits


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_retired_word_is_used(folder: str) -> None:
    assert retired_words_in(folder) == []


def test_a_phrase_is_found_across_lines_and_a_part_of_a_word_is_not() -> None:
    assert PATTERN.search("kept for\n    # ever")
    assert not PATTERN.search("mended_players renewal bookshelf")
