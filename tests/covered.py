"""Runs pytest with the coverage of all processes, checks the floor, and ends with pytest's closing line.

`make test` is this. The report of what was not run goes to `coverage.txt`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPORT = Path("coverage.txt")
# Tests wait more than they compute. Those of a module stay together, with what they started; `-n 0` runs all in a row.
AT_ONCE = ("-n", "2", "--dist", "loadfile")


def main(arguments: list[str]) -> int:
    """0 if every test passed and, in a whole run, enough of the code was run."""
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run([*coverage, "erase"], check=True)
    tests = subprocess.Popen(
        [*coverage, "run", "-m", "pytest", *AT_ONCE, *arguments],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        text=True,
        errors="replace",
    )
    assert tests.stdout is not None
    closing = ""
    for line in tests.stdout:
        # Shown as it comes, but for the closing line, which is to be the last of all.
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
        print(f"too little of the code was run; {REPORT} says what was not")
        code = floor
    print(closing, end="")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
