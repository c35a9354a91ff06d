"""The names that users typed, for the errors of requests: options and arguments of a command, keys of a file.

Services name a field of their contract (`expires_at`), but the user typed `--until`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import wraps
from typing import Any, Final, TypeVar

T = TypeVar("T")
MAX_FIELDS: Final = 3
# Fields whose option or argument has another name; of several, the first that the command has.
_RENAMED: Final = {
    "board_name": ("board",),
    "counts_on_boards": ("counts",),
    "delivery_id": ("delivery",),
    "expires_at": ("until",),
    "format": ("written",),
    "keep_previous_for": ("keep",),
    "page_size": ("limit",),
    "prefix": ("name",),
    "seconds_per_question": ("seconds",),
    "session_id": ("session",),
    "user_id": ("name",),
    "username": ("new", "name"),
    "webhook_id": ("webhook",),
}
# What somebody types for each parameter of the running command, by its name in the code.
_parameters: ContextVar[Mapping[str, str]] = ContextVar("parameters", default={})  # noqa: B039  # never changed
_STEP: Final = re.compile(r"[\w-]+")
_NAMED: Final = re.compile(r"([\w.[\]]+): (.+)", re.ASCII | re.DOTALL)


def of_command(path: str) -> str:
    """The option or argument of the running command that a path of a request means; the path itself if there is none.

    The end of a path is looked for before its beginning.
    """
    parameters = _parameters.get()
    for step in reversed(_STEP.findall(path)):
        field = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", step).lower()
        for name in (field, field.removesuffix("s"), f"{field}s", *_RENAMED.get(field, ())):
            if name in parameters:
                return parameters[name]
    return path


def of_file(path: str, wrapper: str = "") -> str:
    """The keys of a file that a path of a request means; `wrapper` is the field that holds the content of the file."""
    inside = path.removeprefix(wrapper).lstrip(".") or path
    return re.sub(r"_(\w)", lambda match: match[1].upper(), inside)


def noted(callback: Callable[..., T], parameters: Sequence[Any]) -> Callable[..., T]:
    """The callback of a command, which notes for `of_command` what somebody types for its parameters: `--until`, `NAME`."""
    typed = {
        each.name: max(each.opts, key=len) if each.param_type_name == "option" else each.metavar or each.name.upper()
        for each in parameters
    }

    @wraps(callback)
    def run(*arguments: Any, **named: Any) -> T:
        _parameters.set(typed)
        return callback(*arguments, **named)

    return run


def renamed(message: str, violations: Sequence[tuple[str, str]], name: Callable[[str], str]) -> str:
    """The message of an error, with other names of the fields: those of its violations, or one in front of a text."""
    if violations:
        named = [(path and name(path), problem.rstrip(".")) for path, problem in violations[:MAX_FIELDS]]
        return " ".join(f"{typed}: {problem}." if typed else f"{problem}." for typed, problem in named)
    if match := _NAMED.fullmatch(message):
        return f"{name(match[1])}: {match[2]}"
    return message
