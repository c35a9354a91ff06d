"""Tries the seeded defects: each must be detected by the tests named for it.

    python -m tests.faults.defects [NAME …]

Each defect is put into a copy of the project, where the tests named for it must fail. `make defects` runs all of them, in a
few minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.faults.seeded_defects import DEFECTS, Defect
from tests.faults.seeded_group_defects import GROUP_DEFECTS
from tests.faults.seeded_metadata_defects import METADATA_DEFECTS
from tests.faults.seeded_request_defects import REQUEST_DEFECTS
from tests.faults.seeded_restore_defects import RESTORE_DEFECTS
from tests.faults.seeded_room_defects import ROOM_DEFECTS

ALL = (*DEFECTS, *GROUP_DEFECTS, *METADATA_DEFECTS, *REQUEST_DEFECTS, *RESTORE_DEFECTS, *ROOM_DEFECTS)
ROOT = Path(__file__).parents[2]
# A defect that makes a test hang is detected as well.
LIMIT_SECONDS = 150
_FAILED = 1


def is_caught(defect: Defect, tree: Path) -> bool:
    """Whether the tests fail with the defect. Raises ValueError if it no longer applies."""
    path = tree / defect.path
    original = path.read_text(encoding="utf-8")
    if original.count(defect.old) != 1:
        raise ValueError(f"{defect.path} does not have it once: {defect.old.strip()}")
    path.write_text(original.replace(defect.old, defect.new), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *defect.tests]
    # Before everything installed, also for the processes that the tests start.
    environ = os.environ | {"PYTHONPATH": str(tree)}
    try:
        run = subprocess.run(
            command, cwd=tree, env=environ, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(original, encoding="utf-8")
    if run.returncode not in (0, _FAILED):
        raise ValueError(f"the tests did not run:\n{run.stdout[-2000:]}{run.stderr[-2000:]}")
    return run.returncode == _FAILED


def main(names: list[str]) -> int:
    """Try every defect, or those named; the exit code is 1 if one was missed."""
    with tempfile.TemporaryDirectory(prefix="topten-defects-") as folder:
        tree = Path(folder) / "topten"
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        for name in listed.decode().split("\0"):
            if name and (ROOT / name).is_file():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, tree / name)
        missed = 0
        for defect in ALL:
            if names and not any(name in defect.name for name in names):
                continue
            caught = is_caught(defect, tree)
            missed += not caught
            print(f"{'caught' if caught else 'MISSED'}  {defect.name}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
