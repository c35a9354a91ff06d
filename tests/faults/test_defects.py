"""The known defects of `make defects`: each still applies to the code as it is, and names existing tests."""

from __future__ import annotations

import pytest

from tests.faults.defects import ALL, ROOT
from tests.faults.seeded_defects import Defect


@pytest.mark.parametrize("defect", ALL, ids=lambda defect: defect.name)
def test_defect_applies_to_the_code(defect: Defect) -> None:
    assert (ROOT / defect.path).read_text().count(defect.old) == 1
    assert (ROOT / defect.tests[0]).is_file()
