"""Rates as operators write them, and the operations that have one. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

UNITS: Final = {1: "second", 60: "minute", 3600: "hour"}
_SECONDS: Final = {name[0]: seconds for seconds, name in UNITS.items()}
_RATE: Final = re.compile(r"([1-9][0-9]{0,8})/([smh])", re.ASCII)
_NONE: Final = "-"
# The rates of each operation in development, where a hundred players may share an address, and in production.
DEFAULTS: Final = {
    "query": ("60000/m,600000/m", "1200/m,12000/m"),
    "submit": ("6000/m,60000/m", "60/m,1200/m"),
    "save": ("6000/m,60000/m", "120/m,2400/m"),
    "write": ("6000/m,60000/m", "60/m,600/m"),
    "join": ("600/m,6000/m", "20/m,200/m"),
    "login": ("600/m,6000/m", "10/m,100/m"),
    "account": ("60000/m,-", "1000/h,-"),
    "password": ("600/m,-", "10/m,-"),
    "register": ("-,3000/m", "-,20/m"),
    "guest": ("-,6000/m", "-,1000/h"),
    "refresh": ("-,6000/m", "-,300/m"),
    "export": ("600/m,6000/m", "30/m,300/m"),
    "room": ("6000/m,60000/m", "60/m,1200/m"),
    "room_join": ("60000/m,-", "10000/m,-"),
    "stream": ("6000/m,60000/m", "60/m,600/m"),
}


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` in `seconds`, all of them at once if need be."""

    count: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Parse `60/m` (s, m or h), or `-` for no limit. Raises ValueError."""
        if text == _NONE:
            return None
        match = _RATE.fullmatch(text)
        if match is None:
            raise ValueError("must be two rates such as 60/m,600/m (of a caller, of an address), - for none")
        return cls(int(match[1]), _SECONDS[match[2]])

    def __str__(self) -> str:
        return f"{self.count}/{UNITS[self.seconds][0]}"


class Rates(NamedTuple):
    """How often one caller, and one address, may do an operation; None is no limit."""

    caller: Rate | None
    address: Rate | None

    def __str__(self) -> str:
        return ",".join(_NONE if rate is None else str(rate) for rate in self)


def parse_rates(text: str) -> Rates:
    """Parse `60/m,600/m`; `-` alone is no limit at all. Raises ValueError."""
    if text.strip() == _NONE:
        return Rates(None, None)
    caller, _, address = text.partition(",")
    return Rates(Rate.parse(caller.strip()), Rate.parse(address.strip()))


def parse_optional_rates(text: str) -> Rates | None:
    """Parse `60/m,600/m`, or an empty text as None. Raises ValueError."""
    return parse_rates(text) if text else None
