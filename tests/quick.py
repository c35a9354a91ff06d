"""`make quick`: lint of what changed since the trunk, then the unit tests that start no process. Under 30 s on two idle cores.

    python -m tests.quick [pytest arguments]

Properties are tried on a tenth of their examples. `make test` is what counts: it lints everything, and runs every test on real
servers.
"""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
BIN: Final = Path(sys.executable).parent
# Where a new file is part of the project before git knows it; elsewhere it may be anything.
CODE: Final = ("codegen/", "deploy/", "edge/", "proto/", "services/", "tests/")
# What a module uses that starts processes, and the fixtures that do.
_STARTERS: Final = frozenset({"tests.servers", "tests.unit.edge.edge_process", "tests.faults.proxy", "subprocess"})
_FIXTURES: Final = frozenset({"mongo_url", "redis_url", "nats_url", "stack", "edge", "edge_process"})


def changed() -> list[str]:
    """Return the files that differ from the trunk, those that still exist, and new ones in the folders of the project."""
    base = _git("merge-base", "HEAD", "origin/main") or _git("rev-parse", "HEAD")
    new = [name for name in _git("ls-files", "--others", "--exclude-standard") if name.startswith(CODE)]
    names = {*_git("diff", "--name-only", base[0]), *new}
    return sorted(name for name in names if (ROOT / name).is_file())


def lint(files: Iterable[str]) -> bool:
    """Lint the files with the tools of `make lint`; true if all pass."""
    code = [name for name in files if name.endswith((".py", ".pyi")) and not name.startswith("codegen/python/")]
    commands = []
    if code:
        commands += [["ruff", "check", "--quiet", *code], ["ruff", "format", "--quiet", "--check", *code]]
        commands += [["mypy", *code], ["lint-imports", "--no-logo"]]
    if any(name.startswith("proto/") for name in files):
        commands += [["buf", "lint"], ["buf", "format", "--diff", "--exit-code"]]
    return all(
        subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, check=False).returncode == 0 for command in commands
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what starts a process: this module is a plugin of pytest, too."""
    left_out = [item for item in items if starts_processes(item)]
    config.hook.pytest_deselected(items=left_out)
    kept = set(items).difference(left_out)
    items[:] = [item for item in items if item in kept]


def starts_processes(item: pytest.Item) -> bool:
    """Return whether a test starts servers or other processes, by itself or by a fixture."""
    if not _FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        return True
    module = getattr(item, "module", None)
    used = (value for value in vars(module).values()) if module is not None else ()
    return any(
        (value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", "")) in _STARTERS
        for value in used
    )


def _git(*arguments: str) -> list[str]:
    run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return run.stdout.split("\n")[:-1] if run.returncode == 0 else []


def main() -> int:
    """Lint, then test; return the exit status."""
    linted = lint(changed())
    tests = subprocess.run(
        [
            BIN / "python",
            "-m",
            "pytest",
            "-p",
            "tests.quick",
            "-n",
            "2",
            "--dist",
            "loadfile",
            "--durations",
            "3",
            "--hypothesis-profile",
            "quick",
            "tests/unit",
            *sys.argv[1:],
        ],
        cwd=ROOT,
        check=False,
    )
    return 0 if linted and tests.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
