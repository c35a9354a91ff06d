"""`python -m tests.node` installs what package-lock.json names and unpacks Chromium. `make test` does it once."""

import subprocess

from tests.node import FOLDER, NODE, install

if __name__ == "__main__":
    install()
    subprocess.run([NODE, FOLDER / "chromium.mjs"], check=True)
