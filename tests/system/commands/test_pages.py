"""The commands and documents on the pages, run from top to bottom on an embedded system.

A fenced block marked `sh run` is run by bash, with the data folder of the system in the environment, in a folder where
`codegen` is that of the repository and `.topten` that data folder. The next blocks have the functions of a block, and its
variables in lower case, as in one terminal; the address on a page becomes that of the system. A block marked `text` directly
after it is its output; `…` in it stands for anything.

A block marked `graphql run` is sent as a new player, whose own ID and those of friends are its variables. Commands that
are not run are read by tests/contract/test_page_commands.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from services.cli.system.client import GraphqlClient
from tests.deadline import deadline_seconds
from tests.players import endpoints, register
from tests.servers import RunningStack, running_stack

DOCS = Path(__file__).parents[3] / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), DOCS.parent / "codegen" / "README.md"]
ADDRESS = "http://127.0.0.1:8080"
# A shell for each block: one that fails ends alone, with its line.
SHELL = """if [ -f .shell ]; then . ./.shell; fi
{commands}
{{ declare -p | grep '^declare -- [a-z]' || true; declare -f; }} > .shell
"""
FENCE = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
# Pages that promise a task to an operator: each shows at least one command that this test runs.
TASKS = ("backup", "upgrade", "sizing", "tls", "secrets", "moderation", "operations")


class Block(NamedTuple):
    """Commands of a page, the line where they begin, and the output that the page shows, if it shows one."""

    line: int
    commands: str
    output: str | None


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    fences = list(FENCE.finditer(text))
    found = []
    for index, fence in enumerate(fences):
        following = fences[index + 1] if index + 1 < len(fences) else None
        if fence["kind"] == "sh run":
            shown = following is not None and following["kind"] == "text"
            adjacent = following is not None and not text[fence.end() : following.start()].strip()
            output = following["body"] if following is not None and shown and adjacent else None
            found.append(Block(text.count("\n", 0, fence.start()) + 2, fence["body"], output))
    return found


def documents(page: Path) -> list[str]:
    fences = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [fence["body"] for fence in fences if fence["kind"] == "graphql run"]


@pytest.fixture(scope="module")
def own() -> Iterator[RunningStack]:
    with running_stack({"TOPTEN_LEADERBOARD_TICK": "100ms", "TOPTEN_SCORE_CLOSE_INTERVAL": "1s"}) as stack:
        yield stack


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_commands_of_a_page_work_as_it_says(own: RunningStack, page: Path, tmp_path: Path) -> None:
    """As long as its commands take: each is a process that imports what it needs, a second or two."""
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TOPTEN_LOCAL_DATA": str(own.data),
        "COLUMNS": "150",
    }
    (tmp_path / "codegen").symlink_to(DOCS.parent / "codegen")
    (tmp_path / ".topten").symlink_to(own.data)
    for block in blocks(page):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", SHELL.format(commands=block.commands.replace(ADDRESS, own.http))],
            cwd=tmp_path,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=3 * deadline_seconds(),
            check=False,
        )
        assert done.returncode == 0, f"{page.name}:{block.line}\n{block.commands}\n{done.stdout}"
        if block.output is not None:
            expected = ".*?".join(map(re.escape, block.output.strip().split("…")))
            assert re.fullmatch(expected, done.stdout.strip(), re.DOTALL), f"{page.name}:{block.line}\n{done.stdout}"


@pytest.mark.parametrize("page", [page for page in PAGES if documents(page)], ids=lambda page: page.stem)
async def test_documents_of_a_page_are_answered(own: RunningStack, page: Path) -> None:
    async with GraphqlClient(endpoints(own).graphql) as client:
        me = await register(client)
        friends = [(await register(client)).user_id for _ in range(2)]
        variables = {"me": me.user_id, "friends": [me.user_id, *friends]}
        for text in documents(page):
            used = {name: value for name, value in variables.items() if f"${name}" in text}
            answered = await client.execute(text, used, me.access_token)
            assert all(value is not None for name, value in answered.items() if "ercentile" not in name), answered


@pytest.mark.parametrize("name", TASKS)
def test_a_page_of_tasks_shows_commands_that_are_run(name: str) -> None:
    assert blocks(DOCS / "operator" / f"{name}.md")
