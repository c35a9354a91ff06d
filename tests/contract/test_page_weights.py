"""No address of the page is heavy, and each names its files at once; the reference page says how heavy each is."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from edge.http.page import FOLDER
from tests.contract.page_weights import MAX_BYTES, Weight, body, weights

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "page-weights.md"
# A template of several lines, which begins after what can stand before one.
LONG_TEXT = re.compile(r"(?<=[=(] )`[^`]*\n[^`]*`")
ROW = re.compile(r"^\| `([^`]+)` \| (\d+) \| (\d+) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def loaded() -> list[Weight]:
    return weights()


def test_no_address_is_heavier_than_it_may_be(loaded: list[Weight]) -> None:
    assert len(loaded) >= 18
    assert {each.address: each.bytes for each in loaded if each.bytes >= MAX_BYTES} == {}


def test_an_address_names_all_files_of_its_screen_at_once(loaded: list[Weight]) -> None:
    assert {each.address: sorted(each.unnamed) for each in loaded if each.unnamed} == {}


def test_a_served_script_or_style_has_the_lines_and_texts_of_its_source() -> None:
    for source in sorted(each for each in FOLDER.rglob("*.*") if each.suffix in (".js", ".css")):
        name, text = source.relative_to(FOLDER).as_posix(), source.read_text()
        served = gzip.decompress(body(f"/assets/{'0' * 16}/{name}")).decode()
        assert served.count("\n") == text.count("\n"), name
        assert "\n/*" not in served, name
        for long_text in LONG_TEXT.findall(text):
            assert long_text in served, name


def test_the_reference_page_has_every_address_and_its_weight(loaded: list[Weight]) -> None:
    """A figure may be one off, so that not every changed line of a script renews the page."""
    documented = {address: int(size) for address, _, size in ROW.findall(REFERENCE.read_text())}
    assert list(documented) == [each.address for each in loaded], "run `make gen`"
    wrong = {each.address: each.kibibytes for each in loaded if abs(documented[each.address] - each.kibibytes) > 1}
    assert wrong == {}, "run `make gen`"
