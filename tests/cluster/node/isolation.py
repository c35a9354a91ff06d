"""Namespaces for the node: its network, mounts and processes end with the program that runs in them, even if that is killed.

What namespaces do not hold is put back afterwards: settings of the kernel that the kubelet changes, and control groups.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from tests.cluster.processes import run
from tests.deadline import poll

CGROUPS: Final = Path("/sys/fs/cgroup")
_SYS: Final = Path("/proc/sys")
_CHANGED: Final = (
    *("kernel/keys/root_maxbytes", "kernel/keys/root_maxkeys", "kernel/panic", "kernel/panic_on_oops"),
    *("vm/overcommit_memory", "vm/panic_on_oom"),
)
# A group has the share of one process by default; these are about as many as pods run.
_SHARES: Final = {"cpu.shares": 16 * 1024, "cpu.weight": 16 * 100}
# Where containerd, runc, plugins and the kubelet write, wherever their folders are.
_OWN: Final = ("/run", "/var/log")


def isolated(module: str, arguments: Sequence[str], cgroup: str) -> int:
    """Run a module of this project in namespaces of its own and return its exit code."""
    # Each ends when its parent does, also by SIGKILL.
    unshare = ["setpriv", "--pdeathsig=KILL", "unshare", "--fork", "--kill-child"]
    unshare += ["--net", "--mount", "--pid", "--mount-proc"]
    with _kernel_settings(), _control_groups(cgroup):
        return subprocess.run([*unshare, sys.executable, "-m", module, *arguments], check=False).returncode


def own_folders(folder: Path) -> None:
    """Inside: let nothing that is written to the system's folders reach the machine."""
    for path in _OWN:
        run("mount", "-t", "tmpfs", "tmpfs", path)
    # The kubelet has /var/lib/kubelet in its code.
    above, work = folder / "var-lib", folder / "var-lib-work"
    above.mkdir()
    work.mkdir()
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/var/lib,upperdir={above},workdir={work}", "/var/lib")


@contextmanager
def _kernel_settings() -> Iterator[None]:
    before = {path: path.read_text() for path in (_SYS / name for name in _CHANGED) if path.exists()}
    try:
        yield
    finally:
        for path, text in before.items():
            if path.read_text() != text:
                path.write_text(text)


@contextmanager
def _control_groups(name: str) -> Iterator[None]:
    """A control group of this name in every hierarchy; removed when its processes have ended."""
    roots = [path for path in CGROUPS.iterdir() if path.is_dir() and (path / "cgroup.procs").exists()]
    groups = [root / name for root in roots] if not (CGROUPS / "cgroup.controllers").exists() else [CGROUPS / name]
    try:
        for group in groups:
            group.mkdir()
            for file, shares in _SHARES.items():
                if (group / file).exists():
                    (group / file).write_text(str(shares))
        yield
    finally:
        for group in groups:
            poll(partial(_removed, group), f"the control group {group} is empty")


def _removed(group: Path) -> bool:
    for folder, _, _ in os.walk(group, topdown=False):
        with suppress(OSError):  # still has processes that are ending
            Path(folder).rmdir()
    return not group.exists()
