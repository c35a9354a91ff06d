"""The chart as it is, as it was in a commit, and with another version."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any, Final

import yaml

from tests.helm.rendering import CHART, ROOT

# The commit that introduced this took the labels of chart and release from pods: installs of before it must be upgraded.
POD_LABELS: Final = 'define "topten.podLabels"'
NEXT_VERSION: Final = "99.0.0"


def previous(folder: Path) -> Path:
    """The chart before POD_LABELS. Found by its text, which outlives a history that is written again."""
    introduced = _git("log", "--reverse", "--format=%H", f"-S{POD_LABELS}", "--", str(CHART)).decode().split()[0]
    archive = _git("archive", f"{introduced}^", str(CHART.relative_to(ROOT)))
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder / "previous", filter="data")
    return folder / "previous" / CHART.relative_to(ROOT)


def known_values(chart: Path, values: dict[str, Any]) -> dict[str, Any]:
    """What the schema of a chart allows of some values."""
    schema: dict[str, Any] = json.loads((chart / "values.schema.json").read_text())
    return _known(values, schema)


def _known(values: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    others = schema.get("additionalProperties", True)
    found = {}
    for key, value in values.items():
        part = schema.get("properties", {}).get(key, others)
        if part is not False:
            found[key] = _known(value, part) if isinstance(value, dict) and isinstance(part, dict) else value
    return found


def tree() -> str:
    """The ID that git gives the committed files of this chart, which stays when a commit is written again."""
    return _git("rev-parse", "--short=10", f"HEAD:{CHART.relative_to(ROOT)}").decode().strip()


def next_version(folder: Path) -> Path:
    """This chart with another version and nothing else changed."""
    copy = folder / "next" / "topten"
    shutil.copytree(CHART, copy)
    about = yaml.safe_load((copy / "Chart.yaml").read_text())
    (copy / "Chart.yaml").write_text(yaml.safe_dump(about | {"version": NEXT_VERSION}))
    return copy


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
