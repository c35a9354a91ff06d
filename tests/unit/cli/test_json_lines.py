"""Files of messages, and what is told about those that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from topten.board.v1.board_pb2 import BoardDefinition

from services.cli.json_lines import read_definitions


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"name": "a", "visibility": "SECRET"}, "visibility: SECRET is not one of PUBLIC, MEMBERS, MODERATORS."),
        ({"name": "a", "colour": "red"}, "There is no field 'colour'."),
    ],
)
def test_a_fault_is_told_once_in_the_words_of_the_contract(content: dict[str, str], told: str, tmp_path: Path) -> None:
    file = tmp_path / "boards.json"
    for text, place in (
        (json.dumps(content, indent=2), "Not"),
        (json.dumps(content) + '\n{"name": "b"}', "Line 1: not"),
    ):
        file.write_text(text)
        problems: list[str] = []
        _found, refused = read_definitions(str(file), BoardDefinition, problems.append)
        assert (problems, refused) == ([f"{place} of this kind: {told}"], 1)
