"""Configuration: frozen dataclasses read from `TOPTEN_*` variables, and the table that documents them.

Owns the names of the variables, their parsing, and the report of wrong ones. Must never read the environment by itself: the
composition root passes it in. Messages never contain the value of a secret. See docs/adr/0012.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from services.runtime.config.values import format_value, parse_value, type_name

NAMESPACE = "TOPTEN_"
MASK = "********"
MAX_SECRET_FILE_BYTES = 64 * 1024
# The first word of a variable names its owner. Variables of other processes are checked there; any other variable must be
# known, so that a misspelled name fails the start.
PROCESS_PREFIXES = frozenset({"IDENTITY", "QUIZ", "SCORE", "LEADERBOARD", "EDGE", "LOCAL"})
SHARED_PREFIXES = frozenset({"MONGO", "REDIS", "NATS", "AUTH", "GRPC", "UPSTREAM", "TLS", "BOARDS", "MEDIA", "ROOMS"})

_KEY = "topten.setting"
C = TypeVar("C")


class ConfigError(ValueError):
    """All problems of a configuration; `problems` has one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Row:
    """One line of the table. `default` is text: masked for a secret, empty if the variable is `required`."""

    name: str
    type: str
    default: str
    doc: str
    secret: bool
    required: bool


@dataclass(frozen=True)
class _Setting:
    doc: str
    secret: bool
    parse: Callable[[str], Any] | None
    minimum: Any
    maximum: Any


@dataclass(frozen=True)
class _Variable:
    """A field of a section, with the name of its variable and what is needed to parse it."""

    name: str
    field: dataclasses.Field[Any]
    hint: Any
    setting: _Setting

    def read(self, text: str) -> Any:
        """Parse `text`. Raises ValueError with a phrase that follows the name of the variable."""
        value = self.setting.parse(text) if self.setting.parse else parse_value(text, self.hint)
        if value is not None:
            if self.setting.minimum is not None and value < self.setting.minimum:
                raise ValueError(f"must be at least {format_value(self.setting.minimum)}")
            if self.setting.maximum is not None and value > self.setting.maximum:
                raise ValueError(f"must be at most {format_value(self.setting.maximum)}")
        return value


def setting(
    default: Any = dataclasses.MISSING,
    *,
    doc: str,
    secret: bool = False,
    parse: Callable[[str], Any] | None = None,
    minimum: Any = None,
    maximum: Any = None,
) -> Any:
    """Declare a variable as a dataclass field; without `default` it is required.

    `parse` converts the text and raises ValueError; without it the type of the field decides (see `values`). `minimum` and
    `maximum` are inclusive and of the type of the field.
    """
    metadata = {_KEY: _Setting(doc, secret, parse, minimum, maximum)}
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


def section(cls: type[C]) -> C:
    """Declare a nested section. Its variables have its own prefix, so they are the same in every process."""
    declared: C = dataclasses.field(default_factory=cls)
    return declared


def load(cls: type[C], environ: Mapping[str, str], read_file: Callable[[str], str] | None = None) -> C:
    """Build `cls` from `environ` and nothing else.

    A secret `TOPTEN_X` may come from the file named by `TOPTEN_X_FILE`; `read_file` reads it (by default from disk, at most
    64 KiB, without one trailing newline). Raises ConfigError with all problems at once.
    """
    problems = [f"{name}: unknown setting" for name in sorted(_unknown(cls, environ))]
    config = _build(cls, environ, read_file or _read_file, problems)
    if problems:
        raise ConfigError(problems)
    return config


def table(cls: type[Any]) -> list[Row]:
    """All variables of `cls`, in the order of its fields and sections."""
    return [
        Row(
            name=variable.name,
            type=type_name(variable.hint),
            default=_shown(variable, variable.field.default),
            doc=variable.setting.doc,
            secret=variable.setting.secret,
            required=variable.field.default is dataclasses.MISSING,
        )
        for variable in _variables(cls)
    ]


def render(config: Any) -> str:
    """The settings in force as a text table, one line per variable, secrets masked."""
    return _aligned(
        [(variable.name, _shown(variable, value), variable.setting.doc) for variable, value in _values(config)]
    )


def in_force(config: Any, environ: Mapping[str, str]) -> list[dict[str, str]]:
    """The settings in force as `name`, `value` (secrets masked) and `source`: environment, default, or the file's path."""
    settings = []
    for variable, value in _values(config):
        source = "environment" if variable.name in environ else "default"
        if variable.setting.secret and f"{variable.name}_FILE" in environ:
            source = environ[f"{variable.name}_FILE"]
        settings.append({"name": variable.name, "value": _shown(variable, value), "source": source})
    return settings


def from_command_line(
    cls: type[C],
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    prog: str | None = None,
) -> C:
    """Read the configuration of a process from its environment.

    `--help` lists the variables, `--config` prints the settings in force; both exit 0. Problems are printed to stderr, and
    exit 2.
    """
    prefix: str = getattr(cls, "prefix", "")
    parser = argparse.ArgumentParser(
        prog=prog or f"topten-{prefix.lower()}",
        description=f"Settings are read from {NAMESPACE}* variables:",
        epilog=_aligned([(row.name, f"{row.type} [{row.default}]", row.doc) for row in table(cls)]).replace("%", "%%"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", action="store_true", help="print the settings in force, secrets masked, and exit")
    options = parser.parse_args(argv)
    try:
        config = load(cls, os.environ if environ is None else environ)
    except ConfigError as error:
        for problem in error.problems:
            print(f"{parser.prog}: {problem}", file=sys.stderr)
        raise SystemExit(2) from None
    if options.config:
        print(render(config))
        raise SystemExit(0)
    return config


def _aligned(lines: Sequence[tuple[str, str, str]]) -> str:
    first, second = (max(len(line[column]) for line in lines) for column in (0, 1))
    return "\n".join(f"{line[0]:<{first}}  {line[1]:<{second}}  {line[2]}" for line in lines)


def _sections(cls: type[Any]) -> Iterator[tuple[str, type[Any]]]:
    yield getattr(cls, "prefix", ""), cls
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if _KEY not in field.metadata and dataclasses.is_dataclass(hints[field.name]):
            yield from _sections(hints[field.name])


def _own_variables(cls: type[Any]) -> Iterator[_Variable]:
    prefix: str = getattr(cls, "prefix", "")
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if _KEY in field.metadata:
            name = NAMESPACE + (f"{prefix}_" if prefix else "") + field.name.upper()
            yield _Variable(name, field, hints[field.name], field.metadata[_KEY])


def _variables(cls: type[Any]) -> Iterator[_Variable]:
    for _, part in _sections(cls):
        yield from _own_variables(part)


def _values(config: Any) -> Iterator[tuple[_Variable, Any]]:
    cls = type(config)
    for variable in _own_variables(cls):
        yield variable, getattr(config, variable.field.name)
    for field in dataclasses.fields(cls):
        if _KEY not in field.metadata and dataclasses.is_dataclass(getattr(config, field.name)):
            yield from _values(getattr(config, field.name))


def _unknown(cls: type[Any], environ: Mapping[str, str]) -> Iterator[str]:
    known = {v.name for v in _variables(cls)} | {f"{v.name}_FILE" for v in _variables(cls) if v.setting.secret}
    own = {prefix for prefix, _ in _sections(cls)}
    for name in environ:
        if name.startswith(NAMESPACE) and name not in known:
            first = name[len(NAMESPACE) :].split("_", 1)[0]
            if first in own or first not in PROCESS_PREFIXES | SHARED_PREFIXES:
                yield name


def _build(cls: type[C], environ: Mapping[str, str], read_file: Callable[[str], str], problems: list[str]) -> C:
    hints = get_type_hints(cls)
    variables = {variable.field.name: variable for variable in _own_variables(cls)}
    arguments: dict[str, Any] = {}
    before = len(problems)
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # only dataclasses are handed in
        if variable := variables.get(field.name):
            text = _text(variable, environ, read_file, problems)
            if text is None:
                if field.default is dataclasses.MISSING:
                    problems.append(f"{variable.name}: required ({variable.setting.doc})")
                continue
            try:
                arguments[field.name] = variable.read(text)
            except ValueError as error:
                shown = MASK if variable.setting.secret else repr(text[:100])
                reason = "is malformed" if variable.setting.secret and variable.setting.parse else error
                problems.append(f"{variable.name}={shown}: {reason}")
        elif dataclasses.is_dataclass(hints[field.name]):
            arguments[field.name] = _build(hints[field.name], environ, read_file, problems)
    if len(problems) > before:
        # A placeholder, so that the other problems are collected; `load` raises.
        return object.__new__(cls)
    return cls(**arguments)


def _text(
    variable: _Variable, environ: Mapping[str, str], read_file: Callable[[str], str], problems: list[str]
) -> str | None:
    path = environ.get(f"{variable.name}_FILE") if variable.setting.secret else None
    if path is None:
        return environ.get(variable.name)
    if variable.name in environ:
        problems.append(f"{variable.name}: set twice, by value and by {variable.name}_FILE")
        return None
    try:
        return read_file(path)
    except (OSError, ValueError) as error:
        problems.append(f"{variable.name}_FILE={path!r}: {getattr(error, 'strerror', None) or error}")
        return None


def _read_file(path: str) -> str:
    with Path(path).open("rb") as file:
        content = file.read(MAX_SECRET_FILE_BYTES + 1)
    if len(content) > MAX_SECRET_FILE_BYTES:
        raise ValueError(f"longer than {MAX_SECRET_FILE_BYTES} bytes")
    try:
        return content.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None


def _shown(variable: _Variable, value: Any) -> str:
    if value is dataclasses.MISSING:
        return ""
    return MASK if variable.setting.secret and value else format_value(value)
