"""Links between pages, and the names of modules in the page of tests: each leads to what is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
]
_LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as hosts of repositories make them."""
    titles = _HEADING.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    dead = []
    for path, anchor in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        target = page.parent / path if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            dead.append(f"{path}#{anchor}")
    assert not dead


def test_every_module_that_the_page_of_tests_names_is_there() -> None:
    """A path from `tests`, or a name beside the path before it in the same line."""
    tests = ROOT / "tests"
    lost = []
    for line in (tests / "README.md").read_text(encoding="utf-8").splitlines():
        beside = tests
        for name in re.findall(r"`([\w/.-]+\.py)`", line):
            path = next((path for path in (tests / name, beside / name) if path.exists()), None)
            lost += [] if path else [name]
            beside = path.parent if path else beside
    assert not lost
