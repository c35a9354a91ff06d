"""The Chromium of the tests, as npm's `@sparticuz/chromium` ships it: a headless shell that needs nothing of the system.

Licenses: the package MIT, Chromium BSD-3-Clause, the libraries MPL-2.0 (NSS) and MIT (expat), the font OFL-1.1.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

from tests.node import FOLDER, NODE

_UNPACKED = FOLDER / "node_modules" / ".chromium"
_ARGUMENTS = (
    "--no-sandbox",  # tests may run as root in a container
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)


@asynccontextmanager
async def running_chromium() -> AsyncIterator[Browser]:
    """A browser, closed at the end."""
    # Playwright's own Node.js links libatomic, which a bare machine lacks.
    os.environ["PLAYWRIGHT_NODEJS_PATH"] = str(NODE)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=_UNPACKED / "chromium",
            args=_ARGUMENTS,
            env={"LD_LIBRARY_PATH": str(_UNPACKED / "al2023" / "lib"), "FONTCONFIG_FILE": str(FOLDER / "fonts.conf")},
        )
        yield browser
        await browser.close()
