"""The recipes of the contributor guide, followed step by step in a copy of the project: each names every place it touches."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "contributor.md"
GENERATOR = ROOT / ".venv-codegen" / "bin" / "python"
CONTRACT, RESOLVER, HANDLER, SDL = (
    "proto/topten/quiz/v1/quiz_service.proto",
    "edge/graphql/resolvers/players/moderation.py",
    "services/quiz/rpc.py",
    "edge/graphql/schema.graphql",
)
# "After `a line` in `a file`:", or instead of a text in it, or at its end, and a block of code.
_STEP = re.compile(
    r"(?:(After|Instead of)\s+`([^`]+)`\s+in|(At the end) of)\s+`([^`]+)`:\n\n( *)```\w+\n(.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)
# Calls the mutation through the edge's schema and gRPC, as an anonymous caller and as a moderator.
CALL = """
import asyncio
from inspect import signature
from types import SimpleNamespace

import grpc
from graphql import execute, parse
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub, add_QuizServiceServicer_to_server

from edge.graphql.execution.context import Context
from edge.graphql.execution.cost import Limits, cost_of
from edge.graphql.execution.prepared import prepare
from edge.graphql.schema import executable_schema
from edge.http.callers.authentication import Caller
from services.quiz.rpc import QuizServicer
from services.runtime.grpc.methods import methods
from tests.system.access.permissions import ROOTS, RPCS

TEXT = 'mutation { praisePlayer(userId: "Ada") }'


async def call(caller):
    server = grpc.aio.server()
    servicer = QuizServicer(*[None] * len(signature(QuizServicer).parameters))
    add_QuizServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        upstreams = SimpleNamespace(quiz=QuizServiceStub(channel))
        context = Context(upstreams, caller, "", "", None, None, None, None, None, None, "")
        result = execute(executable_schema(), parse(TEXT), context_value=context)
        result = await result if asyncio.iscoroutine(result) or asyncio.isfuture(result) else result
    await server.stop(None)
    return result


moderator = SimpleNamespace(board="", require=lambda access: access == {"moderator"} or 1 / 0, token=lambda: "token")
result = asyncio.run(call(moderator))
assert (result.data, result.errors) == ({"praisePlayer": "Well done, Ada!"}, None), result
assert [str(error.original_error.reason) for error in asyncio.run(call(Caller())).errors] == ["UNAUTHENTICATED"]
operation = prepare(TEXT, "", executable_schema(), Limits(), introspection=False).operation(None)
assert (operation.is_mutation, operation.rates) == (True, {"write": 1})
assert cost_of(parse(TEXT), executable_schema()).total == 200
assert methods("topten.quiz.v1.QuizService")["PraisePlayer"].is_idempotent
assert ROOTS["Mutation.praisePlayer"] == RPCS["quiz.PraisePlayer"] == "moderator"
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project's files, as they are in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        source, target = ROOT / name, tmp_path / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return tmp_path


def changed(copy: Path) -> set[str]:
    """The files of the copy that differ from the project's, other than generated stubs."""
    return {
        name
        for path in copy.rglob("*")
        if path.is_file()
        and not (name := path.relative_to(copy).as_posix()).startswith("codegen/")
        and "__pycache__" not in name
        and (not (ROOT / name).exists() or path.read_bytes() != (ROOT / name).read_bytes())
    }


def python(copy: Path, *arguments: str, interpreter: str | Path = sys.executable) -> str:
    """Run Python in the copy and return what it printed."""
    environ = {**os.environ, "PYTHONPATH": f"{copy}:{copy / 'codegen' / 'python'}"}
    run = subprocess.run([interpreter, *arguments], cwd=copy, env=environ, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def follow(copy: Path, title: str) -> set[str]:
    """Do what a section of the guide says, and return the files that it changed."""
    guide = GUIDE.read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## )", guide, re.DOTALL | re.MULTILINE)
    files = set()
    for where, anchor, at_end, name, indent, block in _STEP.findall(section):
        added = re.sub(rf"^{indent}", "", block, flags=re.MULTILINE)
        text = (copy / name).read_text(encoding="utf-8")
        if at_end:
            text += added
        elif where == "Instead of":
            assert text.count(anchor) == 1, f"{title}: {anchor} in {name}"
            text = text.replace(anchor, added.rstrip("\n"))
        else:
            lines = text.splitlines(keepends=True)
            (at,) = (number for number, line in enumerate(lines) if line.strip() == anchor)
            text = "".join([*lines[: at + 1], added, *lines[at + 1 :]])
        (copy / name).write_text(text, encoding="utf-8")
        files.add(name)
    return files


def generate(copy: Path) -> None:
    """Generate Python's stubs and the SDL in the copy, as `make gen` does."""
    if not GENERATOR.exists():
        subprocess.run(["make", ".venv-codegen/base"], cwd=ROOT, check=True)
    python(copy, "codegen/generate.py", interpreter=GENERATOR)
    python(copy, "-m", "edge.graphql.schema")


def passes(copy: Path, *tests: str) -> None:
    """Run tests in the copy, with what it generated."""
    python(copy, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *tests)


def test_a_new_mutation_touches_its_contract_resolver_handler_and_the_sdl(copy: Path) -> None:
    """The mutation is called, and the tables of other tests are as before."""
    assert follow(copy, "Add a mutation") == {CONTRACT, RESOLVER, HANDLER}
    generate(copy)
    python(copy, "-c", CALL)
    passes(copy, "tests/contract/test_schema.py", "tests/contract/test_methods.py")
    assert changed(copy) == {CONTRACT, RESOLVER, HANDLER, SDL}


def test_a_new_field_of_an_entry_touches_contract_type_frame_and_guide(copy: Path) -> None:
    files = follow(copy, "Add a field to an entry of a board")
    assert len(files) == 4
    generate(copy)
    passes(copy, "tests/contract/test_entries.py")
    assert changed(copy) == {*files, SDL}


def test_the_places_of_a_new_field_that_are_forgotten_are_named(copy: Path) -> None:
    files = follow(copy, "Add a field to an entry of a board")
    forgotten = {name for name in files if not name.startswith("proto/")}
    for name in forgotten:
        shutil.copy2(ROOT / name, copy / name)
    python(copy, "codegen/generate.py", interpreter=GENERATOR)
    with pytest.raises(AssertionError) as failed:
        passes(copy, "tests/contract/test_entries.py")
    assert all(name in str(failed.value) for name in forgotten)


def test_a_new_setting_and_a_new_metric_are_each_one_place_and_a_generated_line(copy: Path) -> None:
    assert follow(copy, "Add a setting") == {"edge/config.py"}
    assert follow(copy, "Add a metric") == {"edge/http/callers/sessions.py"}
    page = (
        "import sys; from services.cli.configuration import configuration_page; sys.stdout.write(configuration_page())"
    )
    settings = python(copy, "-c", page)
    assert "`TOPTEN_EDGE_MAX_TITLES` | `50`" in settings
    listed = python(copy, "-m", "tests.contract.metrics")
    assert "topten_titles_total" in listed
