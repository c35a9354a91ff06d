"""The data folder: its content is created once, private, and used by one stack at a time."""

from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path

import pytest

from services.embedded import lock
from services.embedded.data_folder import DataFolder
from services.embedded.lock import FolderInUseError
from services.embedded.preflight import HOST


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_created_once_and_private(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    secret, key = folder.secret("redis"), folder.signing_key()
    reopened = DataFolder(tmp_path / "data")
    assert (reopened.secret("redis"), reopened.signing_key()) == (secret, key)
    assert reopened.secret("nats") != secret
    assert secret.isalnum()
    assert len(secret) >= 43
    assert mode(tmp_path / "data") == mode(tmp_path / "data" / "secrets") == 0o700
    assert mode(tmp_path / "data" / "secrets" / "redis") == 0o600


def test_ports_are_kept_unless_they_are_taken(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    first = folder.ports("mongo", "redis")
    assert folder.ports("mongo", "redis") == first
    assert first["mongo"] != first["redis"]
    with socket.create_server((HOST, first["mongo"])):
        moved = folder.ports("mongo", "redis")
    assert moved["mongo"] != first["mongo"]
    assert moved["redis"] == first["redis"]


def test_an_empty_secret_is_created_again(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    (tmp_path / "secrets" / "redis").touch()
    made = folder.secret("redis")
    assert made
    assert folder.secret("redis") == made


@pytest.mark.parametrize("content", ["", "[1]", '{"quiz": "x"}', '{"quiz": 70000}', "\xff"])
def test_a_damaged_file_of_ports_is_written_again(tmp_path: Path, content: str) -> None:
    folder = DataFolder(tmp_path)
    (tmp_path / "ports.json").write_text(content, encoding="latin-1")
    ports = folder.ports("quiz")
    assert json.loads((tmp_path / "ports.json").read_text()) == ports


def test_two_stacks_never_choose_the_same_port(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path / "first"), DataFolder(tmp_path / "second")
    chosen = first.ports("mongo", "redis")  # nothing listens on them yet
    second.write("ports.json", json.dumps(chosen))
    assert not set(second.ports("mongo", "redis").values()) & set(chosen.values())


def test_a_second_stack_cannot_lock_the_folder(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path), DataFolder(tmp_path)
    first.lock()
    with pytest.raises(FolderInUseError, match="Another Topten uses"):
        second.lock()


def test_the_lock_names_the_process_that_holds_it(tmp_path: Path) -> None:
    assert lock.holder(tmp_path) is None
    folder = DataFolder(tmp_path)
    (tmp_path / lock.NAME).touch()
    assert lock.holder(tmp_path) is None, "nobody holds it"
    folder.lock()
    assert lock.holder(tmp_path) == os.getpid()
