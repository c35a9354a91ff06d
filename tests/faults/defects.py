"""Defects that somebody might make one day, and the tests that must notice.

    python -m tests.faults.defects [NAME …]

Each defect is put into a copy of the project, and the tests named for it are run there: they must fail. The project itself
is not touched. `make defects` runs all; it takes a few minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
# A defect that makes a test wait for ever is noticed as well.
PATIENCE_SECONDS = 150
_FAILED = 1


class Defect(NamedTuple):
    """One change of one file, and the tests that catch it."""

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]


SERVICE = "tests/system/test_score_service.py"
RECOVERY = "tests/system/test_score_recovery.py"
WORKER = "tests/system/test_score_worker.py"
CRASHES = "tests/faults/test_crash_points.py"
ACTIONS = "tests/system/test_actions.py"
DEFECTS = (
    Defect(
        "an event is acknowledged before it is in the ledger",
        "services/score/consumer.py",
        "                    answers = await self._handle(batch)\n",
        "                    await self._answer([(held, ACK) for held in batch])\n"
        "                    answers = await self._handle(batch)\n",
        (SERVICE, "-k", "killed_at_any_moment"),
    ),
    Defect(
        "two rows may have one revision",
        "services/score/store.py",
        '[("chain", ASCENDING), ("revision", ASCENDING)], unique=True',
        '[("chain", ASCENDING), ("revision", ASCENDING)]',
        (SERVICE, "-k", "two_workers"),
    ),
    Defect(
        "two submissions may have one action id",
        "services/quiz/store.py",
        '[("user_id", ASCENDING), ("action_id", ASCENDING)], unique=True',
        '[("user_id", ASCENDING), ("action_id", ASCENDING)]',
        (ACTIONS,),
    ),
    Defect(
        "two attempts may have one place",
        "services/quiz/store.py",
        '("attempt", DESCENDING)], unique=True',
        '("attempt", DESCENDING)]',
        (ACTIONS,),
    ),
    Defect(
        "a cached player is not read again after a conflict",
        "services/score/worker.py",
        "                folds |= await self._folds.refresh(old)\n",
        "",
        (WORKER, "-k", "old_view"),
    ),
    Defect(
        "boards add up instead of being set",
        "services/score/board_write.lua",
        "if #plain > 0 then changed = redis.call('ZADD', board, 'GT', 'CH', unpack(plain)) end",
        "for i = 1, #plain, 2 do redis.call('ZINCRBY', board, plain[i], plain[i + 1]); changed = changed + 1 end",
        (SERVICE, "-k", "ten_times or duplicate"),
    ),
    Defect(
        "who was lowered is not fenced",
        "services/score/board_write.lua",
        "if #raised > 0 and redis.call('EXISTS', fence) == 1 then",
        "if false then",
        ("tests/system/test_score_boards.py",),
    ),
    Defect(
        "a fold may be written over a newer one",
        "services/score/store.py",
        'ReplaceOne({"_id": fold.chain, "revision": written}, fold_document(fold), upsert=True)',
        'ReplaceOne({"_id": fold.chain}, fold_document(fold), upsert=True)',
        (WORKER,),
    ),
    Defect(
        "an event that was counted before is not shown again",
        "services/score/worker.py",
        "        new = len(events) - len(counted)\n",
        "        new = len(events) - len(counted)\n"
        "        events = [event for event in events if event.event_id not in counted]\n",
        (CRASHES, "-k", "after-insert-before-boards"),
    ),
    Defect(
        "an outcome that is not known is taken for success",
        "services/score/worker.py",
        '                _log.warning("a store does not answer, trying again"',
        '                return None\n                _log.warning("a store does not answer, trying again"',
        (RECOVERY, "-k", "unknown_outcome"),
    ),
    Defect(
        "nobody sweeps the outbox",
        "services/runtime/outbox.py",
        "        for event in await self._store.lease_waiting(now, now + self.lease):\n",
        "        for event in ():\n",
        (CRASHES, "-k", "outbox-write"),
    ),
    Defect(
        "a rebuild forgets what came meanwhile",
        "services/score/rebuild.py",
        "        async for page in _pages(self._store.rows_since(since)):\n",
        "        async for page in _pages(self._store.rows_since(since + 10**9)):\n",
        (RECOVERY, "-k", "redis"),
    ),
    Defect(
        "a blocked player keeps his place",
        "services/score/standings.py",
        "        points = 0 if hidden else total.points\n",
        "        points = total.points\n",
        ("tests/unit/score/test_standings.py",),
    ),
    Defect(
        "a dead letter is thrown away",
        "services/score/intake.py",
        "                await self._bury(letter)\n",
        "                pass\n",
        (SERVICE, "-k", "poison"),
    ),
)


def is_caught(defect: Defect, tree: Path) -> bool:
    """True if the tests fail with the defect. Raises ValueError if it can't be put in any more."""
    path = tree / defect.path
    sound = path.read_text(encoding="utf-8")
    if sound.count(defect.old) != 1:
        raise ValueError(f"{defect.path} does not have it once: {defect.old.strip()}")
    path.write_text(sound.replace(defect.old, defect.new), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *defect.tests]
    # In front of everything that is installed, for the tests' own processes too.
    environ = os.environ | {"PYTHONPATH": str(tree)}
    try:
        run = subprocess.run(
            command, cwd=tree, env=environ, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(sound, encoding="utf-8")
    if run.returncode not in (0, _FAILED):
        raise ValueError(f"the tests did not run:\n{run.stdout[-2000:]}{run.stderr[-2000:]}")
    return run.returncode == _FAILED


def main(names: list[str]) -> int:
    """0 if every defect was caught."""
    with tempfile.TemporaryDirectory(prefix="topten-defects-") as folder:
        tree = Path(folder) / "topten"
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        for name in listed.decode().split("\0"):
            if name and (ROOT / name).is_file():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, tree / name)
        missed = 0
        for defect in DEFECTS:
            if names and not any(name in defect.name for name in names):
                continue
            caught = is_caught(defect, tree)
            missed += not caught
            print(f"{'caught' if caught else 'MISSED'}  {defect.name}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
