"""A file to import: its bytes, read as text or JSON at most once. Every limit of a file is here."""

from __future__ import annotations

import codecs
import json
from collections import Counter
from functools import cached_property
from typing import Any, Final, Self

from services.runtime.texts import without_controls

MAX_BYTES: Final = 16 * 1024 * 1024
# Of formats that are text other than XML, where nothing but questions takes place.
MAX_TEXT_BYTES: Final = 1024 * 1024
# Longer ones first: the mark of UTF-32 begins with that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class FormatError(ValueError):
    """Why a file has no quiz that can be taken: every problem, one line each, beginning with its place."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class Object(dict[str, Any]):
    """A JSON object. `repeated` has the keys that are there more than once: readers differ in which they take."""

    repeated: tuple[str, ...] = ()

    @classmethod
    def of(cls, pairs: list[tuple[str, Any]]) -> Object:
        """Return the object of these pairs."""
        found = cls(pairs)
        if len(found) != len(pairs):
            counts = Counter(key for key, _ in pairs)
            found.repeated = tuple(sorted(key for key, count in counts.items() if count > 1))
        return found


class Number(float):
    """A JSON number that is not whole. `text` has it as it is written, for a float is not exact."""

    text: str

    def __new__(cls, text: str) -> Self:
        """Return the number of this text."""
        number = super().__new__(cls, text)
        number.text = text
        return number


class Source:
    """The content of a file, and the name from which its quizzes get an id and title where the file has none."""

    def __init__(self, content: bytes, name: str = "") -> None:
        """Raise FormatError if the file is too large."""
        if len(content) > MAX_BYTES:
            raise FormatError(f"$: must have at most {MAX_BYTES // 1024 // 1024} MiB")
        self.content = content
        self.name = name

    @cached_property
    def text(self) -> str:
        """The file as text with line feeds alone: UTF-8, or what its byte order mark says. Raises FormatError."""
        content, encoding = self.content, "utf-8"
        if len(content) > MAX_TEXT_BYTES:
            raise FormatError(f"$: must have at most {MAX_TEXT_BYTES // 1024 // 1024} MiB")
        for mark, name in _MARKS:
            if content.startswith(mark):
                content, encoding = content[len(mark) :], name
                break
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise FormatError(f"line {line}: must be {encoding.upper()} (byte 0x{content[error.start]:02x})") from None
        return text.replace("\r\n", "\n").replace("\r", "\n")

    @property
    def is_binary(self) -> bool:
        """Whether the file has bytes that no text has, so that it is refused as binary and not for its encoding."""
        return b"\0" in self.content and not self.is_text

    @cached_property
    def is_text(self) -> bool:
        """Whether the file can be read as text."""
        try:
            return bool(self.text)
        except FormatError:
            return False

    def begins_with(self, characters: str) -> bool:
        """Whether the text begins with one of these characters after white space. False if it is no text."""
        return self.is_text and self.text.lstrip().startswith(tuple(characters))

    @cached_property
    def document(self) -> Any:
        """The file as JSON. Raises FormatError."""
        try:
            return json.loads(self.text, object_pairs_hook=Object.of, parse_float=Number)
        except json.JSONDecodeError as error:
            raise FormatError(f"line {error.lineno}: must be JSON ({without_controls(error.msg)[:100]})") from None
        except RecursionError:
            raise FormatError("$: is nested too deep") from None
        except ValueError:  # Python's bound of whole numbers
            raise FormatError("$: has a number with too many digits") from None
