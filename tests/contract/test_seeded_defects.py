"""Every seeded defect still changes the code, and the tests that must detect it exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.defects import ALL
from tests.faults.seeded_defects import Defect

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("defect", ALL, ids=[each.name for each in ALL])
def test_a_seeded_defect_is_one_change_of_the_code(defect: Defect) -> None:
    assert (ROOT / defect.path).read_text(encoding="utf-8").count(defect.old) == 1
    assert defect.new != defect.old
    assert (ROOT / defect.tests[0]).exists()
