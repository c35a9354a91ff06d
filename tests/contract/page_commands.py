"""The commands on the pages: where each stands, and its words.

A fenced block of `sh` is commands, and so is a comment at the top of a file of `deploy` that is indented by three
spaces. In a sentence, what stands in backticks and begins with one of PROGRAMS and another word is a command.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
PROGRAMS: Final = ("docker", "helm", "kubectl", "make", "topten")
# Files that say in comments how they are used.
COMMENTED: Final = (ROOT / "deploy" / "compose.yaml", ROOT / "deploy" / "Dockerfile")
_SKIPPED: Final = {"CHANGELOG.md", "node_modules", "adr", "vendor"}
_FENCE: Final = re.compile(r"^ *```(?P<kind>[^\n]*)\n(?P<body>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE: Final = re.compile(rf"(?<!`)`(?P<body>(?:\.venv/bin/)?(?:{'|'.join(PROGRAMS)})\s[^`]+)`(?!`)")
_OPERATORS: Final = "();<>|&\n"
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=")


class Command(NamedTuple):
    """One command; `block` is the line of its block, and 0 in a sentence. It `runs` in tests/system/commands/test_pages.py."""

    page: Path
    line: int
    words: list[str]
    block: int = 0
    runs: bool = False

    @property
    def place(self) -> str:
        """Where the command is, and what it is, for a message."""
        return f"{self.page.relative_to(ROOT)}:{self.line}: {' '.join(self.words)}"


def pages() -> list[Path]:
    """Every page for readers, in any folder."""
    folders = (ROOT / "docs", ROOT / "codegen", ROOT / "deploy", ROOT / "edge", ROOT / "proto", ROOT / "tests")
    found = [*ROOT.glob("*.md"), *(page for folder in folders for page in folder.rglob("*.md"))]
    return sorted(page for page in found if not _SKIPPED & set(page.relative_to(ROOT).parts))


def commands(page: Path) -> Iterator[Command]:
    """The commands of a page from top to bottom, those in sentences last."""
    text = page.read_text(encoding="utf-8")
    sentences = text
    for fence in _FENCE.finditer(text):
        (kind, _, option), line = fence["kind"].partition(" "), text.count("\n", 0, fence.start()) + 2
        sentences = sentences.replace(fence[0], "\n" * fence[0].count("\n"), 1)
        if kind == "sh":
            yield from _of_shell(page, line, fence["body"], block=line, runs=option == "run")
    for match in _INLINE.finditer(sentences):
        line = sentences.count("\n", 0, match.start()) + 1
        words = match["body"].replace("\\|", "|").split("|")[0].split()
        yield Command(page, line, _split(" ".join(words)))


def commented(file: Path) -> Iterator[Command]:
    """The commands in the comments of a file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    body = "\n".join(line[4:] if line.startswith("#   ") else "" for line in lines)
    yield from _of_shell(file, 1, body, block=1)


def noted(page: Path, text: str) -> Iterator[Command]:
    """The commands in notes, where each is a line of its own."""
    lines = (line if line.startswith(PROGRAMS) else "" for line in text.splitlines())
    yield from _of_shell(page, 1, "\n".join(lines), block=1)


def _of_shell(page: Path, line: int, body: str, *, block: int, runs: bool = False) -> Iterator[Command]:
    """Split a script into its simple commands, without assignments, redirections and keywords."""
    # A continued line stays on one, and the count of lines is kept.
    text = re.sub(r"(?:[^\n]*\\\n)+[^\n]*", lambda m: m[0].replace("\\\n", " ") + "\n" * m[0].count("\n"), body)
    text = re.sub(r"(^|\s)#[^\n]*", r"\1", text)
    lexer = shlex.shlex(text, posix=True, punctuation_chars=_OPERATORS)
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words: list[str] = []
    at = skipped = 0
    for token in [*lexer, "\n"]:
        if set(token) <= set(_OPERATORS):
            skipped = token[-1] in "<>"
            if skipped:
                continue
            if program := _without_assignments(words):
                yield Command(page, line + at, program, block, runs)
            words, at = [], at + token.count("\n")
        elif skipped:
            skipped = False
        else:
            words.append(token)


def _without_assignments(words: list[str]) -> list[str]:
    """What is left of an assignment from a command, such as `URL=$(…)/path`, is none."""
    while words and (
        words[0] in ("export", "until", "while", "if", "do", "{", "}", "$") or _ASSIGNMENT.match(words[0])
    ):
        words = words[1:]
    return [] if words and words[0].startswith("/") else words


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a sentence may cut a command off
        return text.split()
