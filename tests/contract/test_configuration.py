"""The table of settings: committed, complete, and the same word for the same thing in every process."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.local.commands.config import configuration_page
from services.local.settings import PROCESSES
from services.runtime.config import table

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_committed_page_is_what_the_processes_read() -> None:
    assert PAGE.read_text() == configuration_page(), "make it anew: topten config --markdown > docs/configuration.md"


def test_a_shared_variable_means_the_same_in_every_process() -> None:
    rows = [row for settings in PROCESSES.values() for row in table(settings)]
    assert len({row.name for row in rows}) == len(set(rows)), "one name with two meanings"


@pytest.mark.parametrize("process", PROCESSES)
def test_every_setting_is_explained_and_no_secret_has_a_default_in_clear(process: str) -> None:
    for row in table(PROCESSES[process]):
        assert row.doc, row.name
        assert not row.secret or row.default in ("", "********"), row.name
