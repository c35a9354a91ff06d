"""The data folder: what is in it is made once, private, and of one stack at a time."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from services.local.folder import HOST, DataFolder, FolderInUseError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    secret, key = folder.secret("redis"), folder.signing_key()
    again = DataFolder(tmp_path / "data")
    assert (again.secret("redis"), again.signing_key()) == (secret, key)
    assert again.secret("nats") != secret
    assert secret.isalnum()
    assert len(secret) >= 43
    assert mode(tmp_path / "data") == mode(tmp_path / "data" / "secrets") == 0o700
    assert mode(tmp_path / "data" / "secrets" / "redis") == 0o600


def test_ports_are_kept_but_a_taken_one_is_given_up(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    first = folder.ports("mongo", "redis")
    assert folder.ports("mongo", "redis") == first
    assert first["mongo"] != first["redis"]
    with socket.create_server((HOST, first["mongo"])):
        moved = folder.ports("mongo", "redis")
    assert moved["mongo"] != first["mongo"]
    assert moved["redis"] == first["redis"]


def test_a_folder_is_of_one_stack_at_a_time(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path), DataFolder(tmp_path)
    first.lock()
    with pytest.raises(FolderInUseError, match="another Topten runs"):
        second.lock()
