"""What is installed: every lock of the project, and what is known against the versions in them.

    python -m tests.contract.supply_chain [--offline]

is `make audit`: a new environment from the locks alone, the committed list of vulnerabilities, and, unless `--offline`,
pip-audit, which asks a service on the network and fails on whatever it could not look up.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

ROOT = Path(__file__).parents[2]
ADVISORIES = ROOT / "requirements" / "advisories.toml"
_IGNORED = {"node_modules", ".venv", ".venv-codegen", ".venv-audit", ".venv-policy"}
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Pin:
    """One version in a lock."""

    lock: Path
    package: str
    version: str


@dataclass(frozen=True)
class Advisory:
    """A vulnerability, and the first versions without it, one for each repaired branch."""

    id: str
    package: str
    fixed: tuple[str, ...]
    reason: str

    def concerns(self, version: str) -> bool:
        """Whether this version has it."""
        found, fixed = Version(version), sorted(map(Version, self.fixed))
        own = [each for each in fixed if each.major == found.major]
        return found < (own[0] if own else fixed[-1])


def python_locks() -> list[Path]:
    """Every lock of Python packages."""
    return sorted(
        path for path in ROOT.rglob("*.txt") if _is_ours(path) and "--hash=sha256:" in path.read_text(encoding="utf-8")
    )


def node_locks() -> list[Path]:
    """Every lock of npm packages."""
    return sorted(path for path in ROOT.rglob("package-lock.json") if _is_ours(path))


def pins() -> Iterator[Pin]:
    """Every version in every lock."""
    for lock in python_locks():
        for name, version in _PIN.findall(lock.read_text(encoding="utf-8")):
            yield Pin(lock, name.lower().replace("_", "-"), version)
    for lock in node_locks():
        for path, package in json.loads(lock.read_text(encoding="utf-8"))["packages"].items():
            if path:
                yield Pin(lock, f"npm:{path.rpartition('node_modules/')[2]}", package["version"])


def advisories() -> list[Advisory]:
    """The committed list; an npm package has `npm:` before its name."""
    found = tomllib.loads(ADVISORIES.read_text(encoding="utf-8"))["advisory"]
    return [Advisory(each["id"], each["package"], tuple(each["fixed"]), each["reason"]) for each in found]


def findings(pinned: Sequence[Pin], known: Sequence[Advisory]) -> list[str]:
    """Each pin that an advisory concerns, in words."""
    return [
        f"{pin.lock.relative_to(ROOT)}: {pin.package} {pin.version} has {advisory.id} ({advisory.reason}); "
        f"good from {' or '.join(advisory.fixed)} on"
        for pin in pinned
        for advisory in known
        if pin.package == advisory.package and advisory.concerns(pin.version)
    ]


def _is_ours(path: Path) -> bool:
    return not _IGNORED & set(path.relative_to(ROOT).parts)


def audit(*, online: bool) -> int:
    """Installs, looks up, and says what it found; 0 if nothing is wrong and nothing was left out."""
    with tempfile.TemporaryDirectory(prefix="topten-audit-") as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "--disable-pip-version-check"]
        subprocess.run(
            [*pip, "install", "--quiet", "--require-hashes", "-r", "requirements/run.txt"], cwd=ROOT, check=True
        )
        subprocess.run([*pip, "check"], check=True, stdout=subprocess.DEVNULL)
    print("requirements/run.txt installs by its hashes into an empty environment, and fits together")
    found = findings(list(pins()), advisories())
    print("\n".join(found) or f"no lock has any of the {len(advisories())} vulnerabilities of {ADVISORIES.name}")
    codes = [1 if found else 0]
    for lock in python_locks() if online else ():
        print(f"pip-audit: {lock.relative_to(ROOT)}", flush=True)
        command = [".venv-audit/bin/pip-audit", "--strict", "--disable-pip", "--require-hashes", "-r", str(lock)]
        codes.append(subprocess.run([*command, "--progress-spinner", "off"], cwd=ROOT, check=False).returncode)
    if any(codes[1:]):
        print("pip-audit found something or could not look everything up: this is not a clean audit", file=sys.stderr)
    return max(codes)


if __name__ == "__main__":
    sys.exit(audit(online="--offline" not in sys.argv[1:]))
