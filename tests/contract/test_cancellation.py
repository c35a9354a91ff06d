"""A task whose end somebody awaits is canceled by `services.runtime.process.lifecycle.cancel`, which insists.

Up to Python 3.11 `asyncio.wait_for` can swallow a cancellation, and a wait for the end of the task then never ends.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_CANCELED_ONCE = re.compile(r"\.cancel\(\)\n(?:\s+if [^\n]*\n)?\s+(?:[\w, ]+ = )?await asyncio\.(?:wait|gather)\(")


def test_nobody_cancels_a_task_once_and_waits_for_its_end() -> None:
    paths = [path for folder in ("services", "edge") for path in (ROOT / folder).rglob("*.py")]
    found = {str(path.relative_to(ROOT)) for path in paths if _CANCELED_ONCE.search(path.read_text(encoding="utf-8"))}
    assert len(paths) > 100
    assert found == {"services/runtime/process/lifecycle.py"}
