"""A refusal of a request names what somebody typed for the `topten` command, and no field of a contract."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.servers import RunningStack, run_topten, unique


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["user", "grant", "ada", "--role", "king"], "--role"),
        (["user", "erase", "x" * 100], "NAME"),
        (["client", "add", "Bad Name", "--scope", "leaderboard:read"], "NAME"),
        (["client", "add", unique("c-"), "--scope", "Not A Scope"], "--scope"),
        (["webhook", "put", "hook", "http://hooks.example.com/", "--kind", "board.closed"], "URL"),
        (["webhook", "put", "hook", "https://hooks.example.com/", "--kind", "Nothing!"], "--kind"),
        (["group", "members", "not-a-group"], "GROUP"),
        (["quiz", "rejudge", "solar-system", "--reason", "x" * 1000], "--reason"),
        (["room", "open", "Not A Quiz" * 100], "QUIZ"),
    ],
)
async def test_refused_arguments_are_named_as_they_were_typed(
    stack: RunningStack, arguments: list[str], name: str
) -> None:
    done = await run_topten(*arguments, data=stack.data)
    assert done.returncode in (1, 2)
    assert done.stderr.startswith(f"topten: {name}: "), done.stderr


@pytest.mark.parametrize(
    ("command", "content", "name"),
    [
        ("action-type", {"actionTypeId": "Not An ID", "title": "T", "rule": {"fixed": {"points": 1}}}, "actionTypeId"),
        (
            "action-type",
            {
                "actionTypeId": "x",
                "title": "T",
                "submitters": "PLAYERS",
                "rule": {"perUnit": {"pointsPerUnit": -1, "maxUnits": 1}},
            },
            "rule.perUnit",
        ),
        ("board", {"name": "Not A Name", "title": "T", "sources": ["all"]}, "name"),
        ("board", {"name": "cup", "title": "T", "sources": ["all"], "timeZone": "Moon/Base"}, "timeZone"),
    ],
)
async def test_refused_files_are_named_by_their_keys(
    stack: RunningStack, tmp_path: Path, command: str, content: dict[str, object], name: str
) -> None:
    (tmp_path / "file.json").write_text(json.dumps(content))
    done = await run_topten(command, "put", str(tmp_path / "file.json"), data=stack.data)
    assert done.returncode == 1
    assert f": {name}" in done.stderr, done.stderr
    assert "_" not in done.stderr.partition("(")[0], done.stderr


async def test_a_refused_action_names_the_key_of_its_line(stack: RunningStack, tmp_path: Path) -> None:
    (tmp_path / "actions.jsonl").write_text(
        '{"player": {"externalId": "p"}, "actionTypeId": "Not An ID", "actionId": "x"}\n'
    )
    done = await run_topten("action", "submit", str(tmp_path / "actions.jsonl"), data=stack.data)
    result = json.loads(done.stdout)
    assert "_" not in result["field"] + result["message"].partition(":")[0]
