"""The chart as it is, as it was in a commit, and with another version."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final

import yaml

from tests.helm.rendering import CHART, ROOT

# The last commit before pods lost the labels of chart and release: installs of then must be upgraded.
PREVIOUS: Final = "57f4a884f718"
NEXT_VERSION: Final = "99.0.0"


def previous(folder: Path) -> Path:
    """The chart of PREVIOUS."""
    archive = subprocess.run(
        ["git", "archive", PREVIOUS, str(CHART.relative_to(ROOT))], cwd=ROOT, capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder / "previous", filter="data")
    return folder / "previous" / CHART.relative_to(ROOT)


def next_version(folder: Path) -> Path:
    """This chart with another version and nothing else changed."""
    copy = folder / "next" / "topten"
    shutil.copytree(CHART, copy)
    about = yaml.safe_load((copy / "Chart.yaml").read_text())
    (copy / "Chart.yaml").write_text(yaml.safe_dump(about | {"version": NEXT_VERSION}))
    return copy
