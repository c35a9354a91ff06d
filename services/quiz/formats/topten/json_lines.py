"""The lines of a JSON document on which its values begin, by their places."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+', re.DOTALL)
_LINE: Final = re.compile(r"line ([0-9]{1,9})\b")
_LAST_STEP: Final = re.compile(r"(\.[^.\[]*|\[[^\[]*)$")


def lines_of(text: str) -> dict[str, int]:
    """Return the line of each value of a valid document: `questions[0].id` → 4."""
    lines: dict[str, int] = {}
    # The path of each object and array around the part, and its present key or index.
    around: list[tuple[str, str | int]] = []
    key, line, scanned = "", 1, 0
    for match in _TOKEN.finditer(text):
        part = match[0]
        line += text.count("\n", scanned, match.start())
        scanned = match.start()
        if part in "]}":
            around.pop()
        elif part == ",":
            path, step = around[-1]
            around[-1] = (path, step + 1 if isinstance(step, int) else "")
        elif part == ":":
            around[-1] = (around[-1][0], key)
        elif around and around[-1][1] == "" and part[0] == '"':
            key = json.loads(part)
        else:
            path = _place(around)
            lines.setdefault(path or "$", line)
            if part in "[{":
                around.append((path, 0 if part == "[" else ""))
    return lines


def line_of(place: str, lines: Mapping[str, int]) -> int:
    """Return the line of a place, or of the value that would contain it; 0 if unknown. A place may be a line itself."""
    if match := _LINE.match(place):
        return int(match[1])
    while place not in lines and (shorter := _LAST_STEP.sub("", place)) != place:
        place = shorter
    return lines.get(place) or lines.get("$", 0)


def _place(around: list[tuple[str, str | int]]) -> str:
    if not around:
        return ""
    path, step = around[-1]
    return f"{path}[{step}]" if isinstance(step, int) else f"{path}.{step}".lstrip(".")
