"""Are the contracts still what users were given? `buf breaking` against the last release, or the first contracts.

Run by `make lint`. In a clone without history (a shallow one) there is nothing to compare with, which is said.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BUF = Path(sys.executable).parent / "buf"


def main() -> int:
    """Buf's exit code; 0 if there is nothing to compare with."""
    base = _git("describe", "--tags", "--abbrev=0", "--match", "v*")
    if base is None:
        shallow = _git("rev-parse", "--is-shallow-repository") != "false"
        first = None if shallow else _git("log", "--reverse", "--format=%H", "--", "buf.yaml")
        base = first.splitlines()[0] if first else None
    if base is None:
        print("contracts: no release and no history to compare with")
        return 0
    reference = f".git#ref={base}" if _is_commit(base) else f".git#tag={base}"
    return subprocess.run([BUF, "breaking", "--against", reference], check=False).returncode


def _is_commit(base: str) -> bool:
    return len(base) == 40


def _git(*arguments: str) -> str | None:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None if done.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main())
