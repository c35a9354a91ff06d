"""Run pytest with the coverage of its processes, check its floor, and print pytest's closing line last.

This is `make test`. The report of uncovered lines goes to `coverage.txt`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPORT = Path("coverage.txt")
# The tests of a module, and of a folder with one system for all, share a worker and its servers; `conftest` schedules and
# orders them. Three workers, because tests of faults wait for a good part of their time: two leave two cores idle for 40 % of
# it. `-n 0` uses one process.
WORKERS = ("-n", "3", "--no-loadscope-reorder")


def main(arguments: list[str]) -> int:
    """Run the tests; the exit code is 0 if all passed and, in a whole run, coverage is above its floor."""
    # Without bytecode, each of the hundreds of processes that tests start would compile the project again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run([*coverage, "erase"], check=True)
    tests = subprocess.Popen(
        [*coverage, "run", "-m", "pytest", *WORKERS, *arguments],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        text=True,
        errors="replace",
    )
    assert tests.stdout is not None
    closing = ""
    for line in tests.stdout:
        # Print each line at once, except the closing line, which comes last.
        if closing:
            print(closing, end="")
        closing = line
        sys.stdout.flush()
    code = tests.wait()
    subprocess.run([*coverage, "combine", "--quiet"], check=code == 0)
    with REPORT.open("w") as report:
        floor = subprocess.run([*coverage, "report"], stdout=report, check=False).returncode
    print(next(line for line in REPORT.read_text().splitlines() if line.startswith("TOTAL")))
    if not arguments and code == 0 and floor != 0:
        print(f"Coverage is below its floor. {REPORT} lists the lines that no test runs.")
        code = floor
    print(closing, end="")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
