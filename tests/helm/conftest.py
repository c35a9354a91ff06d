"""The image, built once for all tests in this folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helm.image import CONTEXT, Stage, build


@pytest.fixture(scope="session")
def image() -> Iterator[Stage]:
    """The last stage of deploy/Dockerfile."""
    folder = Path(tempfile.mkdtemp(prefix="topten-image-"))
    try:
        yield build(CONTEXT / "deploy" / "Dockerfile", folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
