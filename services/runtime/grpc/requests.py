"""Requests of methods: parsed, with canonical ids and composed texts, and within the bounds and text forms of their contract.

Every service takes its requests through `read`, so that one fault is refused in the same way wherever it is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, Final, NamedTuple

import protovalidate
from buf.validate import validate_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp
from topten.text.v1 import text_pb2

from services.runtime.errors import Reason, ServiceError
from services.runtime.texts import canonical_id, composed, fault_of

MAX_VIOLATIONS: Final = 20
# The id of another system, which stays as that system writes it.
EXTERNAL_ID: Final = "external_id"
# The years 1 to 9999 of the Timestamp contract, outside which no time of Python or MongoDB exists.
_FIRST_SECOND: Final = -62_135_596_800
_LAST_SECOND: Final = 253_402_300_799
_NANOS: Final = 1_000_000_000
# The rules of contracts have the words of their library, which are for every number and every kind of value.
_WORDINGS: Final = tuple(
    (re.compile(found), words)
    for found, words in (
        (r"greater than or equal to (-?[\d.]+) and less than or equal to (-?[\d.]+)$", r"from \1 to \2"),
        (r"contain no more than (\d+) item\(s\)$", r"have at most \1 items"),
        (r"contain at least (\d+) item\(s\)$", r"have at least \1 items"),
        (r"\b(1 [a-z]+)s\b", r"\1"),
        (r"in list \[([^\]]*)\]$", r"one of \1"),
        (r"^must not be one of (\S+)$", r"must not be \1"),
        (r"^value is required$", "is required"),
        (r"^value is empty, which is not a valid", "must be a valid"),
        (r"^value must be one of the defined enum values$", "must be one of the values of the contract"),
        (r"^repeated value must contain unique items$", "must have nothing twice"),
    )
)
# What the patterns of contracts admit: people read messages, not patterns.
PATTERNS: Final = {
    "^[A-Z]{2}$": "must be two capital letters, such as VN",
    "^([A-Z]{2})?$": "must be two capital letters, such as VN, or empty",
    "^[0-9]{6,7}$": "must be 6 or 7 digits",
    "^[A-Za-z0-9_-]{1,64}$": "must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -",
    "^[a-z0-9][a-z0-9-]{0,63}$": "must be 1 to 64 characters of a-z, 0-9 and -, the first of them no -",
    "^[a-z0-9][a-z0-9-]{0,31}$": "must be 1 to 32 characters of a-z, 0-9 and -, the first of them no -",
    "^[a-z][a-z0-9-]{0,31}$": "must be 1 to 32 characters of a-z, 0-9 and -, the first of them a letter",
    "^[a-z][a-z0-9-]{0,62}$": "must be 1 to 63 characters of a-z, 0-9 and -, the first of them a letter",
    r"^[0-9]{1,15}(\.[0-9]{1,9})?$": "must be a decimal number, such as 12.5, of at most 15 digits and 9 after the point",
    r"^-?[0-9]{1,15}(\.[0-9]{1,9})?$": "must be a decimal number, such as -12.5, of at most 15 digits and 9 after the point",
    r"^[\p{L}\p{M}\p{N}_.-]+$": "may have letters, digits, _, . and - alone",
}
Violation = tuple[str, str]


def read(parse: Callable[[bytes], Message], data: bytes, validator: protovalidate.Validator) -> Message:
    """Return the request in `data`. UUIDs are in lower case then, and texts in NFC.

    Raises INVALID_ARGUMENT, naming each field, unless the bytes parse, every time exists, every text has the form that its
    field declares, and the rules of the contract hold.
    """
    try:
        request = parse(data)
    except DecodeError:
        raise malformed() from None
    check(request, validator)
    return request


def check(request: Message, validator: protovalidate.Validator) -> None:
    """Check a parsed request as `read` does, and make its UUIDs lower case and its texts NFC. Raises INVALID_ARGUMENT.

    Fields and items whose rules are ignored by their contract are left to the handler.
    """
    if found := violations(request, validator):
        summary = "; ".join(f"{field}: {text}" if field else text for field, text in found[:3])
        raise ServiceError(Reason.INVALID_ARGUMENT, summary, violations=found[:MAX_VIOLATIONS])


def violations(message: Message, validator: protovalidate.Validator) -> list[Violation]:
    """Return everything by which a message breaks its contract; its UUIDs are in lower case then, and its texts in NFC."""
    found = [*_walk(message, "")]
    broken = validator.collect_violations(message)
    found += [(_path(violation), _text(violation)) for violation in broken]
    return found


def _text(violation: Any) -> str:
    if violation.proto.rule_id == "string.pattern" and (text := PATTERNS.get(violation.rule_value)):
        return text
    text = str(violation.proto.message)
    for found, words in _WORDINGS:
        text = found.sub(words, text)
    return text


def malformed() -> ServiceError:
    """Return the refusal of bytes that are not a message of the method."""
    return ServiceError(Reason.INVALID_ARGUMENT, "The request is not a valid protobuf message of this method.")


class _Place(NamedTuple):
    """What is checked of a field: nothing of those that have no place."""

    name: str
    is_repeated: bool
    is_map: bool
    form: text_pb2.Form.ValueType
    canonical: Callable[[str], str] | None
    """Which form of an id or text is used; None if it stays as it is."""


def _walk(message: Message, path: str) -> Iterator[Violation]:
    """Make the ids and texts in a message canonical, and yield what is wrong with its times and texts."""
    if isinstance(message, Timestamp):
        if not (_FIRST_SECOND <= message.seconds <= _LAST_SECOND and 0 <= message.nanos < _NANOS):
            yield path, "must be a time in the years 1 to 9999"
        return
    for field, value in message.ListFields():
        place = _place(field)
        if place is None:
            continue
        if not place.is_repeated:
            yield from _look(value, place, path)
        elif place.is_map:
            for part in (each for entry in value.items() for each in entry):
                yield from _look(part, place, path)
        else:
            for index, each in enumerate(value):
                yield from _look(each, place, path, f"[{index}]")
        if place.canonical is not None:
            _canonicalise(message, place, value, place.canonical)


def _look(value: Any, place: _Place, path: str, index: str = "") -> Iterable[Violation]:
    """Return what is wrong with one value of a field, or with the key of a map, of the message at `path`."""
    if isinstance(value, str):
        fault = "" if place.form == text_pb2.FORM_ANY else fault_of(value, lines=place.form == text_pb2.FORM_LINES)
        return ((_where(path, place, index), fault),) if fault else ()
    return _walk(value, _where(path, place, index)) if isinstance(value, Message) else ()


def _where(path: str, place: _Place, index: str) -> str:
    return f"{path}.{place.name}{index}" if path else place.name + index


@cache
def _place(field: FieldDescriptor) -> _Place | None:
    """Return what is checked of a field. Its descriptor is slow to read, and the same for every message."""
    is_text = field.type == FieldDescriptor.TYPE_STRING
    if not is_text and field.type != FieldDescriptor.TYPE_MESSAGE:
        return None
    rules, form = field.GetOptions().Extensions[validate_pb2.field], field.GetOptions().Extensions[text_pb2.form]
    if validate_pb2.IGNORE_ALWAYS in (rules.ignore, rules.repeated.items.ignore):
        return None
    return _Place(
        name=field.name,
        is_repeated=field.is_repeated,
        is_map=field.message_type is not None and field.message_type.GetOptions().map_entry,
        form=form,
        canonical=_canonical_form(field.name, form) if is_text else None,
    )


def _canonical_form(name: str, form: text_pb2.Form.ValueType) -> Callable[[str], str] | None:
    if name == EXTERNAL_ID or form == text_pb2.FORM_ANY:
        return None
    return canonical_id if name == "ids" or name.endswith(("_id", "_ids")) else composed


def _canonicalise(message: Message, place: _Place, value: Any, canonical: Callable[[str], str]) -> None:
    if place.is_repeated:
        if any(canonical(each) != each for each in value):
            value[:] = [canonical(each) for each in value]
    elif (changed := canonical(value)) != value:
        setattr(message, place.name, changed)


def _path(violation: Any) -> str:
    """Return the field of a violation in the notation of BadRequest: `answers[3].question_id`.

    Of a map it is the map alone: a key is the caller's text, of any length.
    """
    path = ""
    for element in violation.proto.field.elements:
        path += f".{element.field_name}" if path else element.field_name
        subscript = getattr(element, "subscript", None)
        if subscript is not None and subscript.field == "index":
            path += f"[{subscript.value}]"
    return path
