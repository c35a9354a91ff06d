"""Quiz files of other systems, written for the tests: `fixtures/quiz_files`. A folder is a package of its files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent / "fixtures" / "quiz_files"
SAMPLES = sorted(path for path in FOLDER.iterdir() if path.suffix != ".report")


def packed(files: Mapping[str, bytes]) -> bytes:
    """A ZIP of these files."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as package:
        for name, each in files.items():
            package.writestr(name, each)
    return content.getvalue()


def files_of(folder: Path) -> dict[str, bytes]:
    """The files below a folder by their names in a package."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def content_of(sample: Path) -> bytes:
    """The content of a sample."""
    return sample.read_bytes() if sample.is_file() else packed(files_of(sample))
