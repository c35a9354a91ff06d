"""How the tests are shared between workers: what a module starts, it starts once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from tests.deadline import deadline_seconds

MODULES = ("tests/unit/boards/test_board.py", "tests/unit/boards/test_sharding.py")


def test_all_tests_of_a_module_run_in_one_worker() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-vv", "-n", "2", "--no-loadscope-reorder", *MODULES],
        cwd=Path(__file__).parents[3],
        env={name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COVERAGE_"))},
        capture_output=True,
        text=True,
        timeout=2 * deadline_seconds(),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    workers: defaultdict[str, set[str]] = defaultdict(set)
    for worker, module in re.findall(r"\[(gw\d)\].* PASSED (\S+?)::", done.stdout):
        workers[module].add(worker)
    assert workers.keys() == set(MODULES), done.stdout
    assert all(len(each) == 1 for each in workers.values()), workers
