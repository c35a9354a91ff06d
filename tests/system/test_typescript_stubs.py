"""The npm package as another team has it: built from the contracts, unpacked elsewhere, and calling a running system."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from codegen.build import ROOT, VERSION
from services.local.client import GraphqlClient
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.node import NODE
from tests.players import endpoints, register
from tests.servers import RunningStack, unique

SOURCE = ROOT / "codegen" / "typescript"
SECONDS = 30


def built(to: Path) -> Path:
    subprocess.run([sys.executable, "-m", "codegen.build", "--to", to, "typescript"], cwd=ROOT, check=True)
    return to / f"topten-stubs-{VERSION}.tgz"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("npm"))


async def test_node_reads_and_watches_a_board_and_is_told_why_it_is_refused(
    package: Path, stack: RunningStack, tmp_path: Path
) -> None:
    modules = tmp_path / "node_modules"
    with tarfile.open(package) as archive:
        archive.extractall(modules, filter="data")
    (modules / "package").rename(modules / "topten-stubs")
    for scope in ("@bufbuild", "@connectrpc"):
        (modules / scope).symlink_to(SOURCE / "node_modules" / scope)
    example = tmp_path / "example.mts"
    example.write_text((SOURCE / "example.ts").read_text())
    quiz_id = unique("typed-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id))
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)
        await player.submit(quiz_id, [("q1", "a")])
        async with asyncio.timeout(SECONDS):
            while not (entries := await player.top({"kind": "QUIZ", "quizId": quiz_id})):
                await asyncio.sleep(0.05)
    address, board = stack.endpoints["grpc"]["leaderboard"], f"quiz:{quiz_id}"
    process = await asyncio.create_subprocess_exec(
        NODE, example, address, board, env={"TOPTEN_TOKEN": player.access_token}, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(SECONDS):
        output, _ = await process.communicate()
    *lines, frame, refusal = output.decode().splitlines()
    assert process.returncode == 0
    assert lines == [f"{entry['rank']} {entry['username']} {entry['score']}" for entry in entries]
    assert frame == f"frame of {board} with {len(entries)} entries"
    assert refusal == "refused: BOARD_NOT_FOUND"
