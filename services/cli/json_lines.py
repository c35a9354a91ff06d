"""Messages as JSON lines: one message in proto3 JSON on each line, as `topten … FILE|-` reads them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from google.protobuf import descriptor_pool, json_format
from google.protobuf.message import Message

MAX_LINE: Final = 64 * 1024
MAX_FILE: Final = 1024 * 1024
_UNKNOWN_NAME: Final = re.compile(
    r"Invalid enum value (?P<value>\S+) for enum type (?P<kind>[\w.]+) at \w+\.(?P<field>[\w.\[\]]+)"
)
_UNKNOWN_FIELD: Final = re.compile(r'has no field named "(?P<field>[^"]*)"')
M = TypeVar("M", bound=Message)


def read_messages(name: str, kind: type[M]) -> Iterator[tuple[int, M | str]]:
    """Yield the number of each line that is not blank, from 1, with its message, or with what is wrong with the line.

    `-` is standard input. A line has up to 64 KiB of UTF-8. Raises OSError.
    """
    with nullcontext(sys.stdin.buffer) if name == "-" else Path(name).open("rb") as stream:
        for number, line in enumerate(_lines(stream), 1):
            if line.strip():
                yield number, _message(line, kind)


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield lines, of a longer one the first 64 KiB and a byte."""
    while line := stream.readline(MAX_LINE + 1):
        rest = line
        while not rest.endswith(b"\n") and len(rest) > MAX_LINE:
            rest = stream.readline(MAX_LINE + 1)
        yield line


def _message(line: bytes, kind: type[M]) -> M | str:
    if len(line) > MAX_LINE and not line.endswith(b"\n"):
        return f"The line is longer than {MAX_LINE} bytes."
    try:
        return json_format.Parse(line, kind(), max_recursion_depth=10)
    except UnicodeDecodeError:
        return "The line is not UTF-8."
    except json_format.ParseError as error:
        return f"The line is not a JSON object of this kind: {_fault(error)}"


def read_definitions(name: str, kind: type[M], on_problem: Callable[[str], None]) -> tuple[list[M], int]:
    """Return the messages of a file, `-` for standard input, and how many of its lines are none, which are reported.

    The file, up to 1 MiB, is one JSON object, or has one on each line. Raises OSError.
    """
    with nullcontext(sys.stdin.buffer) if name == "-" else Path(name).open("rb") as stream:
        text = stream.read(MAX_FILE).decode("utf-8", "replace")
    try:
        return [json_format.Parse(text, kind(), max_recursion_depth=10)], 0
    except json_format.ParseError as error:
        if _is_one_object(text):
            on_problem(f"Not of this kind: {_fault(error)}")
            return [], 1
    messages: list[M] = []
    refused = 0
    for number, line in enumerate(filter(str.strip, text.splitlines()), 1):
        try:
            messages.append(json_format.Parse(line, kind(), max_recursion_depth=10))
        except json_format.ParseError as error:
            refused += 1
            on_problem(f"Line {number}: not of this kind: {_fault(error)}")
    return messages, refused


def _is_one_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _fault(error: json_format.ParseError) -> str:
    """The fault of a line, in the words of the contract where protobuf uses those of its own types."""
    text = str(error).splitlines()[0]
    if named := _UNKNOWN_NAME.search(text):
        values = descriptor_pool.Default().FindEnumTypeByName(named["kind"]).values
        names = [value.name for value in values if not value.name.endswith("UNSPECIFIED")]
        return f"{named['field'].rstrip('.')}: {named['value'][:100]} is not one of {', '.join(names)}."
    if field := _UNKNOWN_FIELD.search(text):
        return f"There is no field {field['field'][:100]!r}."
    return text[:200]
