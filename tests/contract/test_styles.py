"""The page's styles mean what they say: a color has one meaning wherever it stands, and sizes and motions are few."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from edge.http.page import FOLDER

# A rule, or one within a media query: its selectors and its declarations.
RULE: Final = re.compile(r"([^{};]+)\{([^{}]*)\}")
COMMENT: Final = re.compile(r"/\*.*?\*/", re.DOTALL)
# What a color means, by whose rules may use it. Where it is declared is no use of it.
MEANINGS: Final = {
    # Places on a board or a podium, by their rank.
    "gold": r"data-rank=\"1\"",
    "silver": r"data-rank=\"2\"",
    "bronze": r"data-rank=\"3\"|\.step \.block",
    # The player who looks at the page.
    "you": r"\.own\b|\.you\b|\.own-place",
    # What has just changed, and where somebody acts: by pressing it, by choosing it, by mending it, in the last seconds.
    "amber": (
        r":focus|:hover|:checked|button|\.skip|\.gain|\.changed|\.result-points|\.missing|\.notice|#notices|\.outcome|\.wrong|"
        r"\.in-question|\.unpublished|CHANGED|\.last|\[type=\"radio\"\]|\.check input"
    ),
}
# Styles that every screen has, which the page names before those for forced colors.
EVERYWHERE: Final = ("style.css", "answers.css", "board.css")
# Text sizes in rem; displays have theirs from the window. Motions in milliseconds, and delays, which are multiples of them.
SIZES: Final = {"0.875", "1", "1.25", "1.75", "2.75", "3.5"}
MOTIONS: Final = {"120", "240", "520", "1040"}


def rules() -> Iterator[tuple[str, str, str]]:
    """Yield each rule as its file, its selectors and its declarations."""
    for path in sorted(FOLDER.glob("*.css")):
        for found in RULE.finditer(COMMENT.sub("", path.read_text())):
            yield path.name, " ".join(found[1].split()), found[2]


def test_a_color_has_one_meaning() -> None:
    found = [
        (file, selectors, name)
        for file, selectors, declarations in rules()
        for name, meaning in MEANINGS.items()
        if selectors != ":root" and re.search(rf"var\(--{name}\b", declarations) and not re.search(meaning, selectors)
    ]
    assert found == []


def test_colors_are_declared_once_and_mixed_in_oklab() -> None:
    literal = re.compile(r"#[0-9a-f]{3,8}\b|\b(?:rgb|hsl|oklch|oklab)\(", re.IGNORECASE)
    found = [
        (file, selectors)
        for file, selectors, declarations in rules()
        if (literal.search(declarations) and selectors != ":root")
        or re.search(r"color-mix\((?!in oklab)", declarations)
    ]
    assert found == []


def test_no_drawn_shape_disappears_in_forced_colors() -> None:
    """The system replaces backgrounds there, but for its own colors: a shape must have one of them, or keep its own."""
    own = re.compile(r"CanvasText|LinkText|ButtonText|adjust: none")
    kept = [(file, set(selectors.split(", "))) for file, selectors, text in rules() if own.search(text)]
    shapes = [
        (file, set(selectors.split(", ")))
        for file, selectors, text in rules()
        if re.search(r"clip-path: (?:polygon|var)", text) and "background" in text
    ]
    assert len(shapes) >= 8
    # Of equal rules the later one holds: that for all screens comes before the files that not every screen needs.
    found = [
        (file, shape)
        for file, shape in shapes
        if not any(
            shape <= other and (where == file or (where == "forced-colors.css" and file in EVERYWHERE))
            for where, other in kept
        )
    ]
    assert found == []


def test_text_has_few_sizes_and_motion_few_speeds() -> None:
    sizes, motions = set(), set()
    for _, _, declarations in rules():
        sizes |= set(re.findall(r"(?:font-size|font|--text-\w+): (?:\d+ )?([\d.]+)rem", declarations))
        motions |= set(re.findall(r"(\d+)ms", declarations))
    assert sizes <= SIZES, sizes - SIZES
    assert motions <= MOTIONS, motions - MOTIONS


def test_numbers_of_boards_have_digits_of_one_width() -> None:
    tabular = ",".join(selectors for _, selectors, text in rules() if "tabular-nums" in text)
    wanted = (".rank", ".score", ".gain", ".move", ".reset", ".own-place", ".count", ".votes", ".countdown")
    assert [each for each in wanted if not re.search(rf"(?:^|[\s,]){re.escape(each)}(?:,|$)", tabular)] == []
