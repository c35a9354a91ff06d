"""Install a lock of requirements into this environment, and show the progress: pip itself is silent or prints a page.

Uses the standard library and pip alone, because nothing else is installed yet:

    .venv/bin/python services/embedded/install.py "what runs" --require-hashes -r requirements/run.txt

On a failure prints what pip printed, and what to do about an index that cannot be reached. The exit code is pip's.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

REPORT_SECONDS = 10.0
_PACKAGE = re.compile(r"(?:Collecting|Requirement already satisfied:) ([A-Za-z0-9_.\-]+)")
_UNREACHABLE = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeoutError|No matching distribution|ProxyError"
)


def main(arguments: Sequence[str]) -> int:
    """Run pip with `arguments[1:]`; `arguments[0]` says what is installed."""
    what, options = arguments[0], list(arguments[1:])
    total = sum(count_packages(Path(options[index + 1])) for index, each in enumerate(options) if each == "-r")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off", *options]
    sys.stderr.write(f"topten: installing {what} into .venv: {total} packages, a minute or two on a fast network\n")
    printed: list[str] = []
    seen: set[str] = set()
    reported, unpacking = time.monotonic(), False
    with subprocess.Popen(  # noqa: S603  # pip of this interpreter, with the options of the Makefile
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            printed.append(line)
            if match := _PACKAGE.match(line.strip()):
                seen.add(match.group(1).lower())
            starts_unpacking = line.startswith("Installing collected packages")
            unpacking = unpacking or starts_unpacking
            if starts_unpacking or time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                step = "unpacking all of them" if unpacking else f"{len(seen)} of {total} packages are here"
                sys.stderr.write(f"topten: {step}\n")
    if pip.returncode:
        sys.stderr.writelines(printed[-20:])
        if _UNREACHABLE.search("".join(printed)):
            sys.stderr.write(
                "topten: The package index cannot be reached. Set PIP_INDEX_URL to one that can, and run again.\n"
            )
    return pip.returncode


def count_packages(lock: Path) -> int:
    """The number of packages that a lock pins for any system."""
    return sum(
        "==" in line and not line.startswith((" ", "#")) for line in lock.read_text(encoding="utf-8").splitlines()
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
