"""Generated secrets: complete, readable only by their owner, never overwritten and never printed."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli.app import app
from services.identity.clients.client import parse_service_clients
from services.runtime.clock import utc_now


def run(file: Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["secrets", str(file)])
    return result.exit_code, result.output


def test_the_secret_for_kubernetes_has_every_client_and_the_signing_key(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    code, output = run(file)
    assert code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    data = json.loads(file.read_text())["stringData"]
    clients = parse_service_clients(data["identity-service-clients"])
    assert all(client.proves(data[f"client-{name}"], utc_now()) for name, client in clients.items())
    assert data["identity-signing-key"].startswith("-----BEGIN PRIVATE KEY-----")
    assert not any(value in output for value in data.values())


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "topten.env"
    assert run(file)[0] == 0
    before = file.read_bytes()
    assert run(file)[0] == 2
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", ["secrets", "secrets.yaml"])
def test_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    assert run(tmp_path / name)[0] == 2
    assert not (tmp_path / name).exists()
