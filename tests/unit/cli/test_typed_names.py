"""Every field that a command sends is named by the option or argument that it comes from."""

from __future__ import annotations

from typing import Any

import pytest
import typer.main
from topten.room.v1 import room_pb2

from services.cli.app import app
from services.cli.typed_names import noted, of_command, of_file, renamed

# What each command sends, and what its user typed for it.
SENT = {
    "user grant": {"username": "NAME", "role": "--role"},
    "user revoke": {"username": "NAME", "role": "--role"},
    "user erase": {"username": "NAME"},
    "user list": {"prefix": "PREFIX", "page_size": "--limit"},
    "user rename": {"prefix": "NAME", "user_id": "NAME", "username": "NEW", "reason": "--reason"},
    "user block": {"prefix": "NAME", "user_id": "NAME", "reason": "--reason", "expires_at": "--until"},
    "user unblock": {"prefix": "NAME", "reason": "--reason"},
    "user sessions": {"prefix": "NAME"},
    "user end-sessions": {"prefix": "NAME", "session_id": "--session", "reason": "--reason"},
    "client add": {"name": "NAME", "scopes[1]": "--scope", "issuer": "--issuer"},
    "client rotate": {"name": "NAME", "keep_previous_for": "--keep"},
    "client remove": {"name": "NAME"},
    "webhook put": {"name": "NAME", "url": "URL", "kinds[0]": "--kind", "boards[2]": "--board", "top": "--top"},
    "webhook delete": {"webhook_id": "WEBHOOK"},
    "webhook rotate": {"webhook_id": "WEBHOOK", "keep_previous_for": "--keep"},
    "webhook deliveries": {"webhook_id": "WEBHOOK", "page_size": "--limit", "state": "--state"},
    "webhook replay": {"webhook_id": "WEBHOOK", "delivery_id": "DELIVERY"},
    "group list": {"user_id": "USER"},
    "group members": {"group_id": "GROUP"},
    "group remove": {"group_id": "GROUP", "user_id": "USER"},
    "group rotate-code": {"group_id": "GROUP"},
    "group enter-board": {"group_id": "GROUP", "board_name": "BOARD"},
    "group leave-board": {"group_id": "GROUP", "board_name": "BOARD"},
    "group delete": {"group_id": "GROUP"},
    "quiz export": {"quiz_id": "QUIZ_IDS"},
    "quiz rejudge": {"quiz_id": "QUIZ_ID", "reason": "--reason"},
    "dlq show": {"letter_id": "LETTER_ID"},
    "dlq replay": {"letter_ids[0]": "LETTER_IDS"},
    "action-type archive": {"action_type_id": "ID"},
    "action submit": {"boards[0]": "--board"},
    "board archive": {"name": "NAME"},
    "room open": {
        "input.quizId": "QUIZ",
        "input.options.seconds": "--seconds",
        "input.options.lockWhenAllAnswered": "--lock-when-all-answered",
        "input.options.speedPoints": "--speed-points",
        "input.options.frozenQuestions": "--frozen-questions",
        "input.options.nicknames": "--nicknames",
        "input.options.coHosts[0]": "--co-host",
        "input.options.maxPlayers": "--max-players",
        "input.options.countsOnBoards": "--counts",
        "input.options.proofOfWork": "--proof-of-work",
    },
    "room results": {"roomId": "ROOM", "format": "--format"},
}


def command(path: str) -> Any:
    found: Any = typer.main.get_command(app)
    for word in path.split():
        found = found.commands[word]
    return found


@pytest.mark.parametrize(
    ("path", "field", "typed"), [(path, *pair) for path, sent in SENT.items() for pair in sent.items()]
)
def test_a_field_is_named_by_the_option_or_argument_that_it_comes_from(path: str, field: str, typed: str) -> None:
    assert noted(lambda: of_command(field), command(path).params)() == typed


@pytest.mark.parametrize("option", [field.name for field in room_pb2.RoomOptions.DESCRIPTOR.fields])
def test_a_room_is_opened_by_command_with_every_option_of_the_contract(option: str) -> None:
    assert noted(lambda: of_command(f"options.{option}"), command("room open").params)().startswith("--")


def test_a_field_that_nobody_typed_keeps_its_name() -> None:
    assert noted(lambda: of_command("page_token"), command("user list").params)() == "page_token"


@pytest.mark.parametrize(
    ("field", "wrapper", "key"),
    [
        ("action_type.action_type_id", "action_type", "actionTypeId"),
        ("definition.sources[2]", "definition", "sources[2]"),
        ("definition", "definition", "definition"),
        ("occurred_at", "", "occurredAt"),
        ("rule.per_unit.points_per_unit", "", "rule.perUnit.pointsPerUnit"),
    ],
)
def test_a_field_of_a_file_is_named_by_its_keys(field: str, wrapper: str, key: str) -> None:
    assert of_file(field, wrapper) == key


@pytest.mark.parametrize(
    ("message", "violations", "expected"),
    [
        ("summary", [("a_b", "must be c"), ("", "is too large.")], "aB: must be c. is too large."),
        ("a_b: must be c.", [], "aB: must be c."),
        ("No player has this username.", [], "No player has this username."),
        ("Try again: the store is away.", [], "Try again: the store is away."),
    ],
)
def test_a_message_names_the_fields_of_its_violations(
    message: str, violations: list[tuple[str, str]], expected: str
) -> None:
    assert renamed(message, violations, of_file) == expected
