"""Sheets for the documentation: several pictures on one, small enough to keep in the repository."""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.async_api import Browser

WIDTH: Final = 1600
QUALITY: Final = 72
STYLE: Final = """
  body { margin: 0; padding: 20px; background: #8b90a3; display: grid; grid-template-columns: minmax(0, 1fr); gap: 20px; }
  div { display: flex; gap: 20px; justify-content: space-between; }
  img { display: block; min-width: 0; border-radius: 8px; }
"""


@dataclass(frozen=True)
class Sheet:
    """A picture of the documentation: rows of pictures, those of a row equally high."""

    name: str
    rows: Sequence[Sequence[str]]


SHEETS: Final = (
    Sheet("play", [["play-desktop-dark"]]),
    Sheet(
        "players",
        [
            [
                "sign-in-phone-light",
                "play-phone-dark",
                "start-phone-light",
                "question-phone-dark",
                "review-phone-light",
            ],
            ["result-phone-dark", "board-desktop-light", "board-details-phone-dark"],
        ],
    ),
    Sheet(
        "rooms",
        [
            ["kiosk-projector-dark", "projector-question-projector-light"],
            ["host-lobby-desktop-light", "projector-podium-projector-dark"],
            ["join-phone-light", "seat-question-phone-dark", "seat-reveal-phone-light", "host-question-phone-dark"],
        ],
    ),
    Sheet(
        "consoles",
        [
            ["author-question-desktop-light", "author-import-desktop-dark"],
            ["mod-player-desktop-dark", "ops-desktop-light"],
        ],
    ),
)


async def compose(browser: Browser, sheet: Sheet, pictures: Path, folder: Path) -> None:
    """Write a sheet as `<name>.jpg`."""
    page = await browser.new_page(viewport={"width": WIDTH, "height": 100})
    rows = "".join(f"<div>{''.join(_picture(pictures / f'{each}.png') for each in row)}</div>" for row in sheet.rows)
    await page.set_content(f"<!doctype html><style>{STYLE}</style>{rows}")
    await page.evaluate("Promise.all([...document.images].map((image) => image.decode()))")
    await page.screenshot(path=folder / f"{sheet.name}.jpg", type="jpeg", quality=QUALITY, full_page=True)
    await page.close()


def _picture(file: Path) -> str:
    """An image as wide, beside others of its row, as its form needs to be equally high."""
    body = file.read_bytes()
    width, height = (int.from_bytes(body[start : start + 4]) for start in (16, 20))  # PNG's header
    source = f"data:image/png;base64,{b64encode(body).decode()}"
    style = html.escape(f"flex: {width / height:.4f}; aspect-ratio: {width} / {height}")
    return f'<img src="{source}" style="{style}" alt="">'
