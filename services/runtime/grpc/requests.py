"""Requests of methods: parsed, with canonical ids, and within the bounds and text forms of their contract.

Every service takes its requests through `read`, so that one fault is refused in the same way wherever it is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, MutableSequence
from functools import cache
from typing import Any, Final

import protovalidate
from buf.validate import validate_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp
from topten.text.v1 import text_pb2

from services.runtime.errors import Reason, ServiceError
from services.runtime.texts import canonical_id, fault_of

MAX_VIOLATIONS: Final = 20
# The id of another system, which stays as that system writes it.
EXTERNAL_ID: Final = "external_id"
# The years 1 to 9999 of the Timestamp contract, outside which no time of Python or MongoDB exists.
_FIRST_SECOND: Final = -62_135_596_800
_LAST_SECOND: Final = 253_402_300_799
_NANOS: Final = 1_000_000_000
# The rules of contracts are worded for every number: "at least 1 characters".
_ONE: Final = re.compile(r"\b(1 [a-z]+)s\b")
Violation = tuple[str, str]


def read(parse: Callable[[bytes], Message], data: bytes, validator: protovalidate.Validator) -> Message:
    """Return the request in `data`. UUIDs are in lower case then.

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
    """Check a parsed request as `read` does, and make its UUIDs lower case. Raises INVALID_ARGUMENT.

    Fields and items whose rules are ignored by their contract are left to the handler.
    """
    if found := violations(request, validator):
        summary = "; ".join(f"{field}: {text}" if field else text for field, text in found[:3])
        raise ServiceError(Reason.INVALID_ARGUMENT, summary, violations=found[:MAX_VIOLATIONS])


def violations(message: Message, validator: protovalidate.Validator) -> list[Violation]:
    """Return everything by which a message breaks its contract; its UUIDs are in lower case then."""
    found = [*_walk(message, "")]
    broken = validator.collect_violations(message)
    found += [(_path(violation), _ONE.sub(r"\1", violation.proto.message)) for violation in broken]
    return found


def malformed() -> ServiceError:
    """Return the refusal of bytes that are not a message of the method."""
    return ServiceError(Reason.INVALID_ARGUMENT, "The request is not a valid protobuf message of this method.")


def _walk(message: Message, path: str) -> Iterator[Violation]:
    """Make the ids in a message canonical, and yield what is wrong with its times and texts."""
    if isinstance(message, Timestamp):
        if not (_FIRST_SECOND <= message.seconds <= _LAST_SECOND and 0 <= message.nanos < _NANOS):
            yield path, "must be a time in the years 1 to 9999"
        return
    for field, value in message.ListFields():
        place = f"{path}.{field.name}" if path else field.name
        values = _values(field, value)
        if field.type not in (FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_STRING) or _is_ignored(field):
            continue
        for index, each in enumerate(values):
            where = f"{place}[{index}]" if field.is_repeated and not _is_map(field) else place
            if isinstance(each, Message):
                yield from _walk(each, where)
            elif isinstance(each, str) and (fault := _fault_of(field, each)):
                yield where, fault
        if field.name.endswith(("_id", "_ids")) and field.name != EXTERNAL_ID:
            _canonicalise(message, field, value)


def _values(field: FieldDescriptor, value: Any) -> Any:
    """Return the values of a field; of a map its keys and its values."""
    if not field.is_repeated:
        return [value]
    if _is_map(field):
        return [part for entry in value.items() for part in entry]
    return value


def _fault_of(field: FieldDescriptor, text: str) -> str:
    form = _form(field)
    return "" if form == text_pb2.FORM_ANY else fault_of(text, lines=form == text_pb2.FORM_LINES)


@cache
def _form(field: FieldDescriptor) -> text_pb2.Form.ValueType:
    return field.GetOptions().Extensions[text_pb2.form]


@cache
def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


@cache
def _is_ignored(field: FieldDescriptor) -> bool:
    rules = field.GetOptions().Extensions[validate_pb2.field]
    return validate_pb2.IGNORE_ALWAYS in (rules.ignore, rules.repeated.items.ignore)


def _canonicalise(message: Message, field: FieldDescriptor, value: Any) -> None:
    if field.type != FieldDescriptor.TYPE_STRING:
        return
    if not field.is_repeated:
        setattr(message, field.name, canonical_id(value))
    elif isinstance(value, MutableSequence) and any(canonical_id(each) != each for each in value):
        value[:] = [canonical_id(each) for each in value]


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
