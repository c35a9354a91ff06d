"""What a machine must have to be a node."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from services.embedded.preflight import Problem, check_programs

PROGRAMS: Final = {
    "buildah": "buildah",
    "containerd": "containerd",
    "ip": "iproute2",
    "iptables-restore": "iptables",
    "mmdebstrap": "mmdebstrap",
    "runc": "runc",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
PLUGINS: Final = Path("/usr/lib/cni")
KEYS: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def unsuitable() -> str:
    """Why no node can run here, whatever is installed; empty if one can."""
    if sys.platform != "linux":
        return f"a node needs Linux; this is {sys.platform}"
    if os.geteuid() != 0:
        return "a node needs root"
    return ""


def missing() -> list[Problem]:
    """What must be installed before."""
    problems = check_programs(PROGRAMS)
    if not (PLUGINS / "bridge").exists():
        problems.append(Problem(f"There are no network plugins in {PLUGINS}.", "containernetworking-plugins"))
    if not KEYS.exists():
        problems.append(Problem(f"The keys of Debian's archive are missing: {KEYS}.", "debian-archive-keyring"))
    return problems
