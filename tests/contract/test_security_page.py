"""docs/security.md lists every scope with the processes that have it, and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.runtime.auth.access import OWN_SCOPES, SCOPES

ROOT = Path(__file__).parents[2]
PAGES = ("docs/security.md", "tests/README.md")
# Identity needs no client: it signs its own token.
SIGNED_BY_ITSELF = {"player:erase": {"identity"}}


def test_the_page_lists_every_scope_and_who_has_it() -> None:
    rows = re.findall(r"^\| `(\w+:\w+)` \|[^|]+\|([^|]*)\|$", (ROOT / PAGES[0]).read_text(), re.MULTILINE)
    listed = {scope: {name.strip() for name in names.split(",") if name.strip()} for scope, names in rows}
    held = {scope: {name for name, scopes in OWN_SCOPES.items() if scope in scopes} for scope in SCOPES}
    assert listed == held | SIGNED_BY_ITSELF


@pytest.mark.parametrize("page", PAGES)
def test_every_named_test_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    named = set(re.findall(r"`((?:unit|contract|system|faults|browser|helm|load|observability)/[\w/]+\.py)`", text))
    assert named
    assert [name for name in sorted(named) if not (ROOT / "tests" / name).exists()] == []
