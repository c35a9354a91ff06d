"""Keys and passwords of a new deployment: whole, readable by their owner alone, never overwritten and never shown."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.identity.clients import parse_service_clients
from services.local.cli import app


def run(file: Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["secrets", str(file)])
    return result.exit_code, result.output


def test_a_secret_for_kubernetes_opens_what_identity_guards(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    code, said = run(file)
    assert code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    data = json.loads(file.read_text())["stringData"]
    clients = parse_service_clients(data["identity-service-clients"])
    assert all(client.proves(data[f"client-{name}"]) for name, client in clients.items())
    assert data["identity-signing-key"].startswith("-----BEGIN PRIVATE KEY-----")
    assert not any(value in said for value in data.values())


def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "topten.env"
    assert run(file)[0] == 0
    before = file.read_bytes()
    assert run(file)[0] == 2
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", ["secrets", "secrets.yaml"])
def test_another_form_is_refused(tmp_path: Path, name: str) -> None:
    assert run(tmp_path / name)[0] == 2
    assert not (tmp_path / name).exists()
