"""Values of a JSON document, read as expected types: every problem is collected with its place."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any, Final

from services.quiz.formats.source import Number, Object
from services.runtime.texts import fault_of

_STEP: Final = re.compile(r"(?!^)[.\[]")
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?")


class Values:
    """Reads values of expected types; a wrong value becomes a problem and the type's empty value."""

    def __init__(self) -> None:
        self.problems: list[tuple[str, str]] = []
        self.changes: list[tuple[str, str]] = []
        self._closed: set[str] = set()
        # The places of all problems and those around them.
        self._known: set[str] = set()

    def has_reported(self, place: str) -> bool:
        """Whether a fault at a place is known: one is there or below it, or it lies in a value of the wrong type."""
        return self._is_closed(place) or place in self._known

    def object(self, value: Any, path: str, keys: AbstractSet[str]) -> dict[str, Any]:
        """Return an object; keys other than these are problems."""
        fields: dict[str, Any] = self.typed(value, dict, path, {})
        for key in fields.repeated if isinstance(fields, Object) else ():
            self.problem(path, f"the key {key[:64]!a} is there twice")
        for key in sorted(fields.keys() - keys):
            self.problem(path, f"unknown key: {key[:64]!a}")
        return fields

    def entries(
        self, fields: dict[str, Any], key: str, path: str, *, most: int, required: bool = False
    ) -> Iterator[Any]:
        """Return the first `most` values of a list, none if there is no such key."""
        place = f"{path}.{key}".lstrip(".")
        if required and key not in fields:
            self.problem(place, "is missing")
        values: list[Any] = self.typed(fields.get(key, []), list, place, [])
        if len(values) > most:
            self.problem(place, f"must have at most {most}")
        return iter(values[:most])

    def text(self, fields: dict[str, Any], key: str, path: str, *, required: bool = True, lines: bool = False) -> str:
        """Return the text of a key, with line feeds and tabs if `lines`."""
        place = f"{path}.{key}".lstrip(".")
        if key not in fields:
            if required:
                self.problem(place, "is missing")
            return ""
        return self.checked(fields[key], place, lines=lines)

    def checked(self, value: Any, place: str, *, lines: bool = False) -> str:
        """Return a text that the contract admits; an empty one in place of another, which may not even be UTF-8."""
        text: str = self.typed(value, str, place, "")
        if fault := fault_of(text, lines=lines):
            self.problem(place, fault)
            return ""
        normalized = unicodedata.normalize("NFC", text)
        if normalized != text:
            self.changes.append((place, "letters were composed (NFC)"))
        return normalized

    def time(self, value: Any, path: str) -> datetime | None:
        """Return a time in UTC."""
        try:
            at = datetime.fromisoformat(self.typed(value, str, path, ""))
        except ValueError:
            self.problem(path, "must be a time such as 2026-11-23T18:00:00Z")
            return None
        if at.tzinfo is None:
            self.problem(path, "must have a time zone, such as the Z in 2026-11-23T18:00:00Z")
            return None
        try:
            return at.astimezone(UTC)
        except OverflowError:
            self.problem(path, "must be in the years 1 to 9999")
            return None

    def integer(self, value: Any, path: str) -> int:
        """Return a whole number of 32 bits."""
        value = self.typed(value, int, path, 0)
        if not -(2**31) <= value < 2**31:
            self.problem(path, "must fit 32 bits")
            return 0
        return int(value)

    def choice(self, value: Any, names: Mapping[str, Any], path: str, default: Any) -> Any:
        """Return the value that a name stands for."""
        name = self.typed(value, str, path, "")
        if name not in names:
            self.problem(path, f"must be one of {', '.join(names)}")
        return names.get(name, default)

    def flag(self, fields: dict[str, Any], key: str, path: str) -> bool:
        """Return the value of a key that is true or false; false if there is no such key."""
        return bool(self.typed(fields.get(key, False), bool, f"{path}.{key}".lstrip("."), default=False))

    def decimal(self, value: Any, path: str) -> str:
        """Return an exact decimal number, which the document has as a number or as text."""
        text = value.text if isinstance(value, Number) else str(value)
        if isinstance(value, bool) or not isinstance(value, (int, Number, str)) or not _NUMBER.fullmatch(text):
            self.problem(path, "must be a number such as 3.14, with at most 15 digits before and 9 after the point")
            return ""
        return text

    def typed(self, value: Any, expected: type, path: str, default: Any) -> Any:
        """Return a value of a type, or the default."""
        # In Python, true is an int.
        if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
            names = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "an object"}
            self.problem(path, f"must be {names[expected]}")
            self.close(path)
            return default
        return value

    def problem(self, path: str, text: str) -> None:
        """Note a problem, unless it follows from one: nothing is in a value of the wrong type."""
        if not self._is_closed(path):
            self.problems.append((path, text))
            self._known.update(_around(path))

    def close(self, path: str) -> None:
        """Report nothing more about a place and what is in it."""
        self._closed.add(path)

    def _is_closed(self, path: str) -> bool:
        return "$" in self._closed or not self._closed.isdisjoint(_around(path))


def _around(path: str) -> Iterator[str]:
    """Yield a place and those that it is in."""
    yield path
    for match in _STEP.finditer(path):
        yield path[: match.start()]
