"""`make screenshots`: every screen, light and dark, on desktops and phones, and sheets of them for the documentation.

    python -m tests.screenshots [--only WORD]

`dist/screenshots/` gets a picture for each screen, size and color scheme; with `--only`, those whose name has the word.
`docs/screens/` gets the sheets, unless something was left out.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
from pathlib import Path
from typing import Final

from playwright.async_api import expect

from tests.chromium import running_chromium
from tests.deadline import deadline_seconds
from tests.leftovers import exit_on_sigterm
from tests.screenshots.camera import Camera
from tests.screenshots.consoles import consoles
from tests.screenshots.players import players
from tests.screenshots.rooms import rooms
from tests.screenshots.sheets import SHEETS, compose
from tests.servers import RunningStack, running_stack

ROOT: Final = Path(__file__).parents[2]
PICTURES: Final = ROOT / "dist" / "screenshots"
DOCS: Final = ROOT / "docs" / "screens"
DEMO: Final = 24


async def take(stack: RunningStack, only: str) -> None:
    """Take the pictures."""
    expect.set_options(timeout=deadline_seconds() * 1000)
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir(parents=True)
    async with running_chromium() as chromium:
        camera = Camera(PICTURES, only)
        await players(chromium, stack, camera)
        await rooms(chromium, stack, camera)
        await consoles(chromium, stack, camera)
        if not only:
            DOCS.mkdir(exist_ok=True)
            for sheet in SHEETS:
                await compose(chromium, sheet, PICTURES, DOCS)
    print(f"{camera.taken} pictures are in {PICTURES.relative_to(ROOT)}")


def main() -> None:
    """Start a system of its own, and take the pictures."""
    parser = argparse.ArgumentParser(prog="make screenshots", description=__doc__)
    parser.add_argument("--only", default="", help="only pictures whose name has this word, and no sheets")
    only = parser.parse_args().only
    settings = {"TOPTEN_LEADERBOARD_TICK": "500ms"}
    with running_stack(settings, "--demo", str(DEMO)) as stack:
        asyncio.run(take(stack, only))


if __name__ == "__main__":
    exit_on_sigterm()
    main()
