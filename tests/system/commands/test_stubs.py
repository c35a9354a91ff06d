"""The stubs as another team uses them: built from the contracts, elsewhere, calling a running system as a service."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from codegen.build import ROOT, VERSION
from services.cli.system.client import GraphqlClient
from tests.deadline import deadline, eventually
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.node import NODE
from tests.outside import PARTNER, PARTNER_SECRET, TEAM, TEAM_SECRET
from tests.players import endpoints, register
from tests.servers import RunningStack, unique

TYPESCRIPT = ROOT / "codegen" / "typescript"
PYTHON = ROOT / "codegen" / "python"
GO = ROOT / "codegen" / "go" / "bin" / "team"
JAVA = ROOT / "codegen" / "java" / "target"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The npm package, unpacked beside what it needs."""
    to = tmp_path_factory.mktemp("npm")
    subprocess.run([sys.executable, "-m", "codegen.build", "--to", to, "typescript"], cwd=ROOT, check=True)
    modules = to / "node_modules"
    with tarfile.open(to / f"topten-stubs-{VERSION}.tgz") as archive:
        archive.extractall(modules, filter="data")
    (modules / "package").rename(modules / "topten-stubs")
    for scope in ("@bufbuild", "@connectrpc"):
        (modules / scope).symlink_to(TYPESCRIPT / "node_modules" / scope)
    for program in TYPESCRIPT.glob("*.mjs"):
        shutil.copy(program, to)
    return to


async def runs(stack: RunningStack, *program: str | Path, environ: dict[str, str]) -> None:
    """Run an example as a service, on a board with one player, and compare what it prints."""
    quiz_id = unique("stubs-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id))
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)
        await player.submit(quiz_id, [("q1", "a")])
        entries = await eventually(lambda: player.top({"kind": "QUIZ", "quizId": quiz_id}), "the board has an entry")
    address, board = stack.endpoints["grpc"]["leaderboard"], f"quiz:{quiz_id}"
    credentials = {
        "TOKEN_URL": f"{stack.endpoints['identity_http']}/oauth/token",
        "CLIENT_ID": PARTNER,
        "CLIENT_SECRET": PARTNER_SECRET,
    }
    process = await asyncio.create_subprocess_exec(
        *program, address, board, env=credentials | environ, stdout=asyncio.subprocess.PIPE
    )
    async with deadline("the example ends"):
        output, _ = await process.communicate()
    assert process.returncode == 0
    assert output.decode().splitlines() == [
        *(f"{entry['rank']} {entry['username']} {entry['score']}" for entry in entries),
        f"frame of {board} with {len(entries)} entries",
        "refused: BOARD_NOT_FOUND",
    ]


async def test_the_typescript_example_calls_as_a_service(package: Path, stack: RunningStack) -> None:
    await runs(stack, NODE, package / "example.mjs", environ={})


async def test_the_python_example_calls_as_a_service(stack: RunningStack) -> None:
    await runs(stack, sys.executable, PYTHON / "example.py", environ={"PYTHONPATH": str(PYTHON)})


async def does_the_work_of_a_team(stack: RunningStack, *program: str | Path, environ: dict[str, str]) -> None:
    """Run a program that brings players, actions and a board, and checks a proof; compare what it prints."""
    name, grpc = unique("team-")[:24], stack.endpoints["grpc"]
    addresses = [grpc[service] for service in ("identity", "quiz", "score", "leaderboard")]
    at = stack.endpoints["identity_http"]
    credentials = {
        "TOKEN_URL": f"{at}/oauth/token",
        "KEYS_URL": f"{at}/.well-known/jwks.json",
        "CLIENT_ID": TEAM,
        "CLIENT_SECRET": TEAM_SECRET,
    }
    process = await asyncio.create_subprocess_exec(
        *program, *addresses, name, env=credentials | environ, stdout=asyncio.subprocess.PIPE
    )
    async with deadline("the program ends"):
        output, _ = await process.communicate()
    assert process.returncode == 0
    assert output.decode().splitlines() == [
        "players: CREATED CREATED",
        "ACCEPTED 30",
        "ACCEPTED 20",
        "DUPLICATE 30",
        "REFUSED INVALID_ARGUMENT",
        f"1 {name}-a 30",
        f"2 {name}-b 20",
        "proof: rank 1 of 2 with 30 points",
    ]


async def test_the_python_program_does_the_work_of_a_team(stack: RunningStack) -> None:
    await does_the_work_of_a_team(stack, sys.executable, PYTHON / "team.py", environ={"PYTHONPATH": str(PYTHON)})


async def test_the_typescript_program_does_the_work_of_a_team(package: Path, stack: RunningStack) -> None:
    await does_the_work_of_a_team(stack, NODE, package / "team.mjs", environ={})


@pytest.mark.skipif(not GO.exists(), reason="`make stubs ARGS=go` compiles it, which takes minutes the first time")
async def test_the_go_program_does_the_work_of_a_team(stack: RunningStack) -> None:
    await does_the_work_of_a_team(stack, GO, environ={})


@pytest.mark.skipif(not (JAVA / "classpath").exists(), reason="`make stubs ARGS=java` compiles it with a JDK and Maven")
async def test_the_java_program_does_the_work_of_a_team(stack: RunningStack) -> None:
    class_path = os.pathsep.join(
        [str(JAVA / "classes"), str(JAVA / "test-classes"), (JAVA / "classpath").read_text(encoding="utf-8")]
    )
    java = shutil.which("java")
    assert java is not None
    await does_the_work_of_a_team(stack, java, "-cp", class_path, "Team", environ={})
