"""The grammar of settings, the same in every process: text to value and back. Pure.

`str int float bool`, durations (`500ms`, `10s`, `1h30m`), comma lists, choices, and `X | None`, where empty text is None.
Raises ValueError with a phrase that follows the name of a variable.
"""

from __future__ import annotations

import math
import re
import types
from datetime import timedelta
from typing import Any, Literal, Union, get_args, get_origin

_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_PART = re.compile(r"(\d{1,9})(ms|[dhms])", re.ASCII)
_DURATION = re.compile(r"(?:\d{1,9}(?:ms|[dhms]))+", re.ASCII)
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def parse_duration(text: str) -> timedelta:
    """Parse `500ms`, `10s`, `10m`, `1h30m`, `30d` or `0`; never negative. Raises ValueError."""
    if text == "0":
        return timedelta()
    if not _DURATION.fullmatch(text):
        raise ValueError("must be a duration such as 500ms, 10s, 10m or 1h30m")
    try:
        return sum((int(amount) * _UNITS[unit] for amount, unit in _PART.findall(text)), timedelta())
    except OverflowError:
        raise ValueError("is too long for a duration") from None


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads as `value`, in whole milliseconds."""
    rest = value
    text = ""
    for unit, size in _UNITS.items():
        amount, rest = divmod(rest, size)
        if amount:
            text += f"{amount}{unit}"
    return text or "0"


def host_port(text: str) -> str:
    """Check an address `host:port` (IPv6 in brackets, port 0 to 65535) and return it. Raises ValueError."""
    split_address(text)
    return text


def http_url(text: str) -> str:
    """Check an HTTP address, or an empty text, and return it. Raises ValueError."""
    if text and not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", text):
        raise ValueError("must be an http:// or https:// address")
    return text


def host_names(text: str) -> tuple[str, ...]:
    """Parse `img.example.org, cdn.example.org`, in lower case, without ports. Raises ValueError."""
    names = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    for name in names:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", name):
            raise ValueError("must be names of hosts, separated by commas")
    return names


def header_pairs(text: str) -> str:
    """Check `name=value,name=value`, or an empty text, and return it. Raises ValueError."""
    if text and not all(re.fullmatch(r"[A-Za-z0-9-]+=[!-~ ]+", pair.strip()) for pair in text.split(",")):
        raise ValueError("must be name=value,name=value")
    return text


def grpc_target(text: str) -> str:
    """Check `host:port`, or `dns:///name:port` for every address behind a name, and return it. Raises ValueError."""
    split_address(text.removeprefix("dns:///"))
    return text


def split_address(text: str) -> tuple[str, int]:
    """`host:port` as a pair, brackets of IPv6 removed. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not re.fullmatch(r"\d{1,5}", port, re.ASCII) or int(port) > 65535:
        raise ValueError("must be an address host:port")
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], int(port)
    if ":" in host:
        raise ValueError("must be an address host:port, IPv6 in brackets")
    return host, int(port)


def parse_value(text: str, hint: Any) -> Any:
    """Parse `text` as a value of the type `hint`. Raises ValueError, and TypeError for an unsupported type."""
    inner = _optional(hint)
    if inner is not None:
        return None if text == "" else parse_value(text, inner)
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text
    if get_origin(hint) is tuple:
        return tuple(part for part in (piece.strip() for piece in text.split(",")) if part)
    if hint is str:
        return text
    if hint is bool:
        return _parse_bool(text)
    if hint is int:
        if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
            raise ValueError("must be a whole number")
        return int(text)
    if hint is float:
        return _parse_float(text)
    if hint is timedelta:
        return parse_duration(text)
    raise TypeError(f"no grammar for a setting of type {hint!r}: give it parse=")


def format_value(value: Any) -> str:
    """The text that `parse_value` reads as `value`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, tuple | frozenset):
        return ",".join(sorted(map(str, value)) if isinstance(value, frozenset) else map(str, value))
    return str(value)


def type_name(hint: Any) -> str:
    """The name of the type in the table of settings."""
    inner = _optional(hint)
    if inner is not None:
        return f"{type_name(inner)} or empty"
    if get_origin(hint) is Literal:
        return " | ".join(get_args(hint))
    if get_origin(hint) is tuple:
        return "comma list"
    names = {str: "text", int: "int", float: "float", bool: "bool", timedelta: "duration"}
    return names.get(hint, "text")


def _optional(hint: Any) -> Any:
    """The X of `X | None`; None for any other type."""
    if get_origin(hint) in (Union, types.UnionType):
        inner = [argument for argument in get_args(hint) if argument is not types.NoneType]
        if len(inner) == 1 and len(get_args(hint)) == 2:
            return inner[0]
    return None


def _parse_bool(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError("must be true or false")


def _parse_float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError("must be a number")
    return value
