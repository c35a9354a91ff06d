"""Rates as operators write them, and the operations that have one. Pure."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
)

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_RATE: Final = re.compile(r"([1-9][0-9]{0,8})/([smh])", re.ASCII)
_NONE: Final = "-"
# The rates of each operation in development, where a hundred players may share an address, and in production.
DEFAULTS: Final = {
    "query": ("60000/m,600000/m", "1200/m,12000/m"),
    "submit": ("6000/m,60000/m", "60/m,1200/m"),
    "write": ("6000/m,60000/m", "60/m,600/m"),
    "login": ("600/m,6000/m", "10/m,100/m"),
    "register": ("-,3000/m", "-,20/m"),
    "refresh": ("-,6000/m", "-,300/m"),
    "export": ("600/m,6000/m", "30/m,300/m"),
    "stream": ("6000/m,60000/m", "60/m,600/m"),
}
# Every other mutation is a `write`, every other question a `query`.
_QUESTIONS: Final = {"exportMyData": "export"}
_MUTATIONS: Final = {
    "register": "register",
    "login": "login",
    "changePassword": "login",  # it tries a password as well
    "deleteMyAccount": "login",  # and so does this
    "refreshToken": "refresh",
    "logout": "refresh",
    "submitQuizAction": "submit",
}


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` in `seconds`, and as many at once."""

    count: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """`60/m` (s, m or h), or `-` for none. Raises ValueError."""
        if text == _NONE:
            return None
        match = _RATE.fullmatch(text)
        if match is None:
            raise ValueError("must be two rates such as 60/m,600/m (of a caller, of an address), - for none")
        return cls(int(match[1]), _SECONDS[match[2]])

    def __str__(self) -> str:
        unit = next(unit for unit, seconds in _SECONDS.items() if seconds == self.seconds)
        return f"{self.count}/{unit}"


class Rates(NamedTuple):
    """How often one caller, and one address, may do an operation; None is as often as he likes."""

    caller: Rate | None
    address: Rate | None

    def __str__(self) -> str:
        return ",".join(_NONE if rate is None else str(rate) for rate in self)


def parse_rates(text: str) -> Rates | None:
    """`60/m,600/m` as rates; empty is None. Raises ValueError."""
    if not text:
        return None
    return needed_rates(text)


def needed_rates(text: str) -> Rates:
    """`60/m,600/m` as rates. Raises ValueError."""
    caller, _, address = text.partition(",")
    return Rates(Rate.parse(caller.strip()), Rate.parse(address.strip()))


def operations_of(document: DocumentNode, operation: OperationDefinitionNode) -> Counter[str]:
    """What executing the operation of a valid document does, by the names that rates have; each alias counts."""
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    names = _root_fields(operation.selection_set, fragments)
    if operation.operation is OperationType.MUTATION:
        return Counter(_MUTATIONS.get(name, "write") for name in names.elements())
    return Counter(_QUESTIONS.get(name, "query") for name in names.elements()) or Counter({"query": 1})


def _root_fields(selections: SelectionSetNode, fragments: dict[str, FragmentDefinitionNode]) -> Counter[str]:
    found: Counter[str] = Counter()
    for selection in selections.selections:
        if isinstance(selection, FieldNode):
            found[selection.name.value] += 1
        elif isinstance(selection, InlineFragmentNode):
            found += _root_fields(selection.selection_set, fragments)
        elif isinstance(selection, FragmentSpreadNode):
            found += _root_fields(fragments[selection.name.value].selection_set, fragments)
    return found
