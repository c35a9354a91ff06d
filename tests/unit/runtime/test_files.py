"""Files survive a power cut whole, and nothing in the project writes one in another way."""

from __future__ import annotations

import ast
import os
import stat
from pathlib import Path

import pytest

import services
from services.runtime.files import replace_file, replacing

ROOT = Path(services.__file__).parents[1]
# Writers of files in place, each with its reason.
ALLOWED = {
    "edge/graphql/schema.py": "the SDL, a file of the source tree",
    "services/runtime/files.py": "the mechanism",
    "services/cli/commands/operation/secrets.py": "a new file that must not exist yet, synced before it is announced",
}


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    replace_file(path, "old")
    replace_file(path, b"new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_previous_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    replace_file(path, "old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.writelines([b"half", None])  # type: ignore[list-item]  # fails half-way
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_on_disk_before_it_has_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this order, or a power cut leaves an empty file under the name: sync the file, rename it, sync the folder."""
    steps: list[str] = []
    sync, rename = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    replace_file(tmp_path / "keys.json", "text")
    assert steps == ["file", "rename", "folder"]


def _writes(node: ast.AST) -> bool:
    """Whether it is a call that writes a file under its final name."""
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in ("write_text", "write_bytes", "mkstemp", "NamedTemporaryFile"):
        return True
    text = {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return name in ("open", "fdopen") and any(isinstance(mode, str) and mode[:1] in ("w", "x") for mode in text)


def test_every_file_is_written_by_the_one_mechanism() -> None:
    writers = {
        str(path.relative_to(ROOT))
        for folder in ("services", "edge")
        for path in (ROOT / folder).rglob("*.py")
        if any(_writes(node) for node in ast.walk(ast.parse(path.read_text())))
    }
    assert writers <= ALLOWED.keys() | {"services/cli/backup/encryption.py"}, "pipes are not files; all others are"
