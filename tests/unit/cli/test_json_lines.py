"""Files of messages, and what is told about those that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from topten.board.v1.board_pb2 import BoardDefinition

from services.boards.definition import problems
from services.boards.messages import definition_of, message_of
from services.cli.json_lines import read_definitions


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"name": "a", "visibility": "SECRET"}, "visibility: SECRET is not one of PUBLIC, MEMBERS, MODERATORS."),
        ({"name": "a", "color": "red"}, "There is no field 'color'."),
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


@pytest.mark.parametrize(("written", "seconds"), [("3600s", 3600), ("0.500s", -1), (None, 0)])
def test_freeze_of_a_board_is_written_as_a_duration_of_whole_seconds(
    written: str | None, seconds: int, tmp_path: Path
) -> None:
    file = tmp_path / "board.json"
    file.write_text(json.dumps({"name": "cup", "period": "daily", "freezesBefore": written}))
    ((read,), _) = read_definitions(str(file), BoardDefinition, print)
    definition = definition_of(read)
    assert definition.freezes_before == seconds
    assert [field for field, _ in problems(definition) if field != "sources"] == ["freezes_before"] * (seconds < 0)
    if seconds > 0:
        assert message_of(definition).definition.freezes_before == read.freezes_before
