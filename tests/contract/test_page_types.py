"""The page's scripts agree with their types: TypeScript reads the JSDoc."""

from __future__ import annotations

import subprocess

from tests.node import FOLDER, NODE


def test_every_script_of_the_page_agrees_with_its_types() -> None:
    compiler = FOLDER / "node_modules" / "typescript" / "bin" / "tsc"
    checked = subprocess.run([NODE, compiler, "-p", FOLDER / "page.json"], capture_output=True, text=True, check=False)
    assert checked.stdout == ""
    assert checked.returncode == 0, checked.stderr
