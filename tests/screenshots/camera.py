"""Takes pictures of a page: each size and color scheme that is asked for, one file each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from playwright.async_api import Page

Scheme = Literal["light", "dark", "forced"]
SIZES: Final = {"desktop": (1280, 800), "phone": (390, 844), "projector": (1920, 1080)}
BOTH: Final[Sequence[Scheme]] = ("dark", "light")
# With the colors of a system of high contrast.
ALL: Final[Sequence[Scheme]] = (*BOTH, "forced")
# A picture is taken while nothing moves.
SETTLED: Final = """async () => {
  const moving = () => document.getAnimations().filter((each) => each.effect.getTiming().iterations !== Infinity);
  const drawn = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  await document.fonts.ready;
  for (await drawn(); moving().length; await drawn()) await Promise.allSettled(moving().map((each) => each.finished));
}"""


class Camera:
    """Writes `<name>-<size>-<scheme>.png` into a folder. Pictures whose name lacks the word `only` are left out."""

    def __init__(self, folder: Path, only: str = "") -> None:
        self.taken = 0
        self._folder = folder
        self._only = only

    async def take(
        self,
        page: Page,
        name: str,
        *,
        sizes: Sequence[str] = ("desktop", "phone"),
        schemes: Sequence[Scheme] = BOTH,
    ) -> None:
        """Take a page as it is; its window has the last size afterwards."""
        if self._only not in name:
            return
        for size in sizes:
            width, height = SIZES[size]
            await page.set_viewport_size({"width": width, "height": height})
            await page.evaluate("scrollTo(0, 0)")
            for scheme in schemes:
                await page.emulate_media(
                    color_scheme="light" if scheme == "light" else "dark",
                    forced_colors="active" if scheme == "forced" else "none",
                )
                await page.evaluate(SETTLED)
                await page.screenshot(path=self._folder / f"{name}-{size}-{scheme}.png")
                self.taken += 1
        # A document that is loaded in forced colors keeps their canvas.
        await page.emulate_media(forced_colors="none")
