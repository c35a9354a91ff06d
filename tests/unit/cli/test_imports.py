"""The command line starts quickly: it imports a driver or a schema only when a command needs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("aiohttp", "cryptography", "edge", "google", "grpc", "nats", "pymongo", "redis", "strawberry", "topten")


@pytest.mark.parametrize("arguments", [["--help"], ["up", "--help"], ["verify", "--help"], ["dlq", "--help"]])
def test_help_imports_no_driver(arguments: list[str]) -> None:
    code = f"""
import sys
before = set(sys.modules)  # coverage, where it is on, has loaded its own
from services.cli.app import app
try:
    app({arguments!r})
except SystemExit as end:
    assert end.code == 0
loaded = {{name.partition(".")[0] for name in sys.modules}}
print(sorted(loaded & set({HEAVY!r})), len(sys.modules.keys() - before), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    heavy, _, count = done.stderr.strip().rpartition(" ")
    assert heavy == "[]"
    assert int(count) < 500, "modules in all"
