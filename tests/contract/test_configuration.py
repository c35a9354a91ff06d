"""The table of settings: committed, complete, and the same word for the same thing in every process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.cli.configuration import configuration_page
from services.embedded.settings import PROCESSES
from services.runtime.config.loading import PROCESS_PREFIXES, SHARED_PREFIXES, table

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"


def test_the_configuration_page_is_up_to_date() -> None:
    assert PAGE.read_text() == configuration_page(), "make gen"


def test_a_shared_variable_means_the_same_in_every_process() -> None:
    rows = [row for settings in PROCESSES.values() for row in table(settings)]
    assert len({row.name for row in rows}) == len(set(rows)), "one name with two meanings"


def test_no_process_refuses_the_settings_of_another() -> None:
    """All processes of a system get the same variables. Those without a section are of `ProcessConfig`, which all have."""
    everywhere = set.intersection(*({row.name for row in table(settings)} for settings in PROCESSES.values()))
    names = {row.name for settings in PROCESSES.values() for row in table(settings)} - everywhere
    prefixes = {name.split("_")[1] for name in names}
    assert prefixes <= PROCESS_PREFIXES | SHARED_PREFIXES


@pytest.mark.parametrize("process", PROCESSES)
def test_every_setting_is_documented_and_no_secret_has_a_default(process: str) -> None:
    for row in table(PROCESSES[process]):
        assert row.doc, row.name
        assert not row.secret or row.default in ("", "********"), row.name


def test_pages_and_examples_name_no_variable_that_a_process_would_refuse() -> None:
    """An exported `TOPTEN_*` variable that no process knows fails every start from that shell."""
    known = {row.name for settings in PROCESSES.values() for row in table(settings)}
    root = PAGE.parents[2]
    pages = [*root.glob("codegen/*.md"), *root.glob("codegen/*/*.md"), *root.glob("codegen/*/example*")]
    pages += [*root.glob("codegen/*/example/*"), *root.glob("docs/*.md")]
    for path in (page for page in pages if page.is_file()):
        named = set(re.findall(r"(?<!`)\bTOPTEN_[A-Z_]+[A-Z](?==)", path.read_text(encoding="utf-8")))
        assert named <= known | {name + "_FILE" for name in known}, path
