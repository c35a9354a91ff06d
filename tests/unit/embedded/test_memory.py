"""How much memory MongoDB's cache may take: a share of what the machine and its control groups give, within bounds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.embedded.memory import GIB, cache_gib, usable_memory
from services.embedded.programs import mongo_server


@pytest.mark.parametrize(("memory", "cache"), [(GIB, 0.5), (4 * GIB, 1), (8 * GIB, 2), (16 * GIB, 4), (256 * GIB, 4)])
def test_the_cache_is_a_quarter_of_the_memory_within_bounds(memory: int, cache: float) -> None:
    assert cache_gib(memory) == cache


@pytest.mark.parametrize(
    ("groups", "limits", "usable"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "3000"}, 3000),
        ("0::/a/b\n", {"a/b/memory.max": "2000", "a/memory.max": "3000"}, 2000),
        ("0::/../outside\n", {"memory.max": "5000"}, 5000),
        ("4:cpu,memory:/c\n0::/\n", {"memory/c/memory.limit_in_bytes": "4000"}, 4000),
        ("4:memory:/unseen\n", {"memory/memory.limit_in_bytes": "6000"}, 6000),
    ],
)
def test_the_least_limit_of_the_control_groups_is_respected(
    tmp_path: Path, groups: str, limits: dict[str, str], usable: int
) -> None:
    for name, limit in limits.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{limit}\n")
    (tmp_path / "cgroup").write_text(groups)
    assert usable_memory(tmp_path / "cgroup", tmp_path) == usable


def test_without_control_groups_all_memory_of_the_machine_is_usable(tmp_path: Path) -> None:
    (total,) = re.findall(r"MemTotal: +([0-9]+) kB", Path("/proc/meminfo").read_text())
    assert usable_memory(tmp_path / "none", tmp_path) == int(total) * 1024


def test_the_embedded_server_gets_the_cache(tmp_path: Path) -> None:
    arguments = mongo_server(tmp_path, 1, "pw").argv
    size = arguments[arguments.index("--wiredTigerCacheSizeGB") + 1]
    assert float(size) == pytest.approx(cache_gib(usable_memory()), abs=0.01)
