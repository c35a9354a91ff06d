"""How much memory MongoDB's cache may take on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

GIB: Final = 1 << 30
# The share of the memory, and the bounds. MongoDB's own default is half of the memory, on a machine of its own.
_SHARE: Final = 4
_LEAST: Final = GIB // 2
_MOST: Final = 4 * GIB
_LIMITS: Final = {"": "memory.max", "memory": "memory/memory.limit_in_bytes"}


def cache_gib(memory: int) -> float:
    """Return the limit of MongoDB's cache in GiB: a quarter of the memory, at least 0.5 and at most 4.

    The cache grows with the data that is used, up to that. If the records of a large quiz do not fit, judging it again
    reads and writes each page many times.
    """
    return max(_LEAST, min(memory // _SHARE, _MOST)) / GIB


def usable_memory(groups: Path = Path("/proc/self/cgroup"), limits: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes that the machine has, or less if a control group of this process, of version 1 or 2, allows less."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for line in groups.read_text().splitlines() if groups.exists() else []:
        _, controllers, name = line.split(":", 2)
        for controller in controllers.split(","):
            if controller in _LIMITS:
                memory = min([memory, *_limits(limits / _LIMITS[controller], name)])
    return memory


def _limits(file: Path, group: str) -> list[int]:
    """Return the limits of a group and of those that it is in, as far as this process sees them."""
    texts = [
        path.read_text().strip()
        for each in (Path(group), *Path(group).parents)
        if (path := file.parent / each.relative_to("/") / file.name).exists()
    ]
    return [int(text) for text in texts if text.isdecimal()]
