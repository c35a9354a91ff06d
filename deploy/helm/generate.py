"""Generate the chart's README.md and values.schema.json from the comments in its values.yaml (`make chart`).

Every leaf key has a comment `# -- description` above it; `# @schema {…}` adds to the schema of its default's type. Objects
are strict: a key that is not in values.yaml is rejected. `@schema {"component": true}` marks objects with the schema of
`defaults`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent / "topten"
KEY = re.compile(r"^( *)([A-Za-z][A-Za-z0-9_]*):")
TYPES = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}
COMPONENT = "component"


@dataclass(frozen=True)
class Value:
    """One documented key: path, description, schema additions and default."""

    path: tuple[str, ...]
    text: str
    schema: dict[str, Any]
    default: Any


class CommentError(ValueError):
    """A key of values.yaml has no comment, or README.md has no marker for the table."""


def documented(source: str) -> list[Value]:
    """Parse the documented keys of a values.yaml, in order. Raises CommentError."""
    defaults = yaml.safe_load(source)
    values: list[Value] = []
    path: list[str] = []
    text: list[str] = []
    schema: dict[str, Any] = {}
    for line in source.splitlines():
        stripped = line.strip()
        if stripped.startswith("# @schema "):
            schema = json.loads(stripped.removeprefix("# @schema "))
        elif stripped.startswith("# -- "):
            text = [stripped.removeprefix("# -- ")]
        elif stripped.startswith("#") and text:
            text.append(stripped.removeprefix("#").strip())
        elif match := KEY.match(line):
            path = [*path[: len(match[1]) // 2], match[2]]
            if text:
                values.append(Value(tuple(path), " ".join(text), schema, _at(defaults, path)))
            text, schema = [], {}
    _require_comments(defaults, {value.path for value in values}, ())
    return values


def _at(defaults: Any, path: list[str]) -> Any:
    for key in path:
        defaults = defaults[key]
    return defaults


def _require_comments(node: Any, known: set[tuple[str, ...]], path: tuple[str, ...]) -> None:
    for key, value in node.items():
        here = (*path, key)
        if here not in known:
            if not isinstance(value, dict) or not value:
                raise CommentError(f"values.yaml: {'.'.join(here)} has no comment")
            _require_comments(value, known, here)


def schema_of(values: list[Value]) -> dict[str, Any]:
    """The JSON schema of all values."""
    root: dict[str, Any] = {"$schema": "http://json-schema.org/draft-07/schema#"} | _strict()
    # Helm passes `global` to every chart, with keys of parent charts.
    for value in values:
        node = root
        for key in value.path[:-1]:
            node = node["properties"].setdefault(key, _strict())
        node["properties"][value.path[-1]] = _leaf(value)
    root["properties"]["global"]["additionalProperties"] = True
    return root


def _strict() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _leaf(value: Value) -> dict[str, Any]:
    if value.schema.get(COMPONENT):
        return {"description": value.text, "$ref": "#/properties/defaults"}
    return {"description": value.text, "type": TYPES[type(value.default)], **value.schema}


def table_of(values: list[Value]) -> str:
    """The table of all values, as Markdown."""
    lines = ["| key | default | meaning |", "| --- | --- | --- |"]
    for value in values:
        default = json.dumps(value.default)
        shown = default if len(default) < 80 else "see values.yaml"
        cells = [f"`{'.'.join(value.path)}`", f"`{shown}`", value.text]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def files(chart: Path = CHART) -> dict[Path, str]:
    """The generated files: path to content."""
    values = documented((chart / "values.yaml").read_text(encoding="utf-8"))
    readme = (chart / "README.md").read_text(encoding="utf-8")
    head, mark, _ = readme.partition("<!-- values: made by `make chart` -->\n")
    if not mark:
        raise CommentError("README.md has no marker for the table of values")
    return {
        chart / "values.schema.json": json.dumps(schema_of(values), indent=2) + "\n",
        chart / "README.md": f"{head}{mark}\n{table_of(values)}\n",
    }


def main() -> None:
    """Write the files."""
    for path, content in files().items():
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
