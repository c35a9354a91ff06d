"""The installation of the environment: it says what it does, and what to do when the index is out of reach."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from services.embedded import install
from services.embedded.install import count_packages

ROOT = Path(install.__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, install.__file__, "a test", *arguments], capture_output=True, text=True, check=False
    )


def test_packages_of_a_lock_are_counted() -> None:
    assert 60 < count_packages(ROOT / "requirements" / "run.txt") < 120


def test_an_installation_without_an_index_says_what_to_do(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("no-such-package-of-topten==1.0\n")
    done = run("--no-index", "--target", str(tmp_path / "into"), "-r", str(lock))
    assert done.returncode != 0
    assert "topten: installing a test into .venv: 1 packages" in done.stderr
    assert done.stderr.endswith("Set PIP_INDEX_URL to one that can, and run again.\n")


def test_an_installation_tells_its_steps(tmp_path: Path) -> None:
    """Of a package made here, so that no index is asked."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "tiny"\nversion = "1"\n[tool.hatch.build.targets.wheel]\ninclude = ["tiny.py"]\n'
    )
    (source / "tiny.py").touch()
    done = run("--no-index", "--no-build-isolation", "--target", str(tmp_path / "into"), str(source))
    assert done.returncode == 0, done.stderr
    assert "topten: unpacking all of them" in done.stderr
