"""The published interface: names and forms on which clients, operators and other systems rely.

More may stand beside them. What is missing here is a breaking change: it needs a new name beside the old one, not another one.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
import typer.main
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from graphql import build_schema
from graphql.utilities import DangerousChangeType, find_breaking_changes, find_dangerous_changes
from topten.leaderboard.v1.leaderboard_pb2 import Entry, Frame
from topten.leaderboard.v1.leaderboard_service_pb2 import Standing
from topten.room.v1.room_pb2 import EXTRA_TIME_NONE, ROOM_PHASE_LOBBY, RoomFrame, RoomOutcome
from typer.core import TyperGroup

from edge.graphql.schema import executable_schema
from edge.http.callers.cookies import GRAPHQL_PATH, ROOM_STREAM_PATH, STREAM_PATH
from edge.stream.frames import encode_end, encode_heartbeat, encode_me, encode_update
from edge.stream.room_frames import encode_outcome, encode_room
from services import streams
from services.boards.board import Board
from services.boards.definition import Definition, problems
from services.cli.app import app
from services.cli.terminal import EXIT_FINDING, EXIT_USAGE
from services.embedded.settings import PROCESSES
from services.runtime.clock import utc_now
from services.runtime.config.loading import table
from services.runtime.errors import Reason
from services.runtime.grpc.methods import methods
from tests.contract.test_metrics import PAGE

GRAPHQL: Final = build_schema((Path(__file__).parent / "interface.graphql").read_text())
# By message, the names of fields in proto3 JSON.
MESSAGES: Final = {
    "action.v1.PutActionTypeRequest": "actionType",
    "action.v1.PutActionTypeResponse": "version changed",
    "action.v1.ActionType": "actionTypeId title submitters rule limits timestampWindow state showsMetadata",
    "action.v1.Rule": "fixed perUnit table reported",
    "action.v1.FixedRule": "points",
    "action.v1.PerUnitRule": "pointsPerUnit maxUnits",
    "action.v1.TableRule": "points",
    "action.v1.ReportedRule": "minimum maximum",
    "action.v1.Limits": "maxActions maxPoints per cooldown",
    "action.v1.SubmitActionsRequest": "actions wait boards",
    "action.v1.PlayerAction": "player actionTypeId actionId quantity outcome value occurredAt metadata",
    "action.v1.Player": "userId externalId",
    "action.v1.SubmitActionsResponse": "results",
    "action.v1.ActionResult": "status reason message field pointsAwarded total standings",
    "score.v1.BoardStanding": "board rank score",
    "score.v1.ScoreUpdatedBatch": "events",
    "score.v1.ScoreUpdatedEvent": "eventId eventType payload",
    "score.v1.ScoreUpdatedPayload": "userId newTotalScore",
    "quiz.v1.QuizCompletedEvent": "eventId eventType payload",
    "quiz.v1.QuizCompletedPayload": "userId quizId scoreDelta timestamp",
    "identity.v1.EnsurePlayersRequest": "players",
    "identity.v1.PlayerProfile": "externalId username country avatarUrl",
    "identity.v1.EnsurePlayersResponse": "results",
    "identity.v1.EnsuredPlayer": "status userId reason message",
    "board.v1.BoardDefinition": "name title sources aggregate order period timeZone segment size visibility freezesBefore",
    "leaderboard.v1.Entry": "userId username score rank country previousRank gapToNext metadata",
}
ENUMS: Final = {
    "action.v1.ActionType.Submitters": "SERVICES PLAYERS BOTH",
    "action.v1.ActionResult.Status": "ACCEPTED DUPLICATE REFUSED",
    "score.v1.Wait": "RECORDED COUNTED",
    "board.v1.BoardDefinition.Aggregate": "SUM BEST LATEST COUNT",
    "board.v1.BoardDefinition.Order": "DESC ASC",
}
METHODS: Final = {
    "action.v1.ActionService": "PutActionType GetActionType ListActionTypes ArchiveActionType SubmitActions",
    "board.v1.BoardService": "PutBoard ArchiveBoard ListBoards",
    "identity.v1.IdentityService": "EnsurePlayers",
}
SCOPES: Final = {
    "action.v1.ActionService/PutActionType": "action:define",
    "action.v1.ActionService/SubmitActions": "action:submit",
    "identity.v1.IdentityService/EnsurePlayers": "player:write",
}
REASONS: Final = """
    UNAUTHENTICATED PERMISSION_DENIED INVALID_ARGUMENT QUIZ_NOT_FOUND QUIZ_CLOSED ATTEMPTS_EXHAUSTED ACTION_ID_CONFLICT
    TIMESTAMP_OUT_OF_WINDOW PLAYER_BLOCKED PLAYER_NOT_FOUND BOARD_NOT_FOUND CURSOR_EXPIRED RATE_LIMITED USERNAME_TAKEN
    CREDENTIALS_INVALID DOCUMENT_TOO_COSTLY UNAVAILABLE INTERNAL ACTION_TYPE_NOT_FOUND ACTION_TYPE_CLOSED LIMIT_REACHED
    BOARD_DEFINITION_INVALID ROOM_NOT_FOUND ROOM_CLOSED QUESTION_LOCKED NICKNAME_TAKEN VERSION_CONFLICT
"""
# The options of each; what is required beside them is an argument.
COMMANDS: Final = {
    "up": "", "top": "--board --watch", "verify": "--repair", "rebuild": "", "doctor": "", "config": "--running",
    "status": "", "logs": "", "stop": "", "backup": "", "restore": "", "verify-proof": "", "bootstrap-mongo": "",
    "dlq list": "", "dlq show": "", "dlq replay": "", "user grant": "--role",
    "quiz import": "--dry-run", "quiz export": "", "quiz rejudge": "--dry-run",
    "action-type put": "", "action-type list": "", "action-type archive": "", "action submit": "--wait",
    "player ensure": "", "board put": "", "board list": "", "board archive": "",
    "client add": "--scope", "client list": "", "client rotate": "", "client remove": "",
    "room open": "", "demo room": "--players",
}  # fmt: skip
METRICS: Final = {
    "topten_actions_accepted_total": "", "topten_action_to_screen_seconds": "", "topten_sse_connections": "",
    "topten_sse_dropped_total": "reason", "topten_outbox_lag_seconds": "", "topten_consumer_pending": "",
    "topten_redeliveries_total": "", "topten_dead_letters_total": "", "topten_ledger_conflicts_total": "",
    "topten_board_stale": "", "topten_auth_failures_total": "reason", "topten_rate_limited_total": "operation",
    "topten_flags_total": "rule", "topten_breaker_state": "upstream", "topten_quiz_cache_total": "result",
    "topten_rooms": "", "topten_room_players": "", "topten_room_lock_to_reveal_seconds": "",
}  # fmt: skip
DEFAULTS: Final = {
    "TOPTEN_QUIZ_TIMESTAMP_WINDOW": "1h,5m",
    "TOPTEN_IDENTITY_ACCESS_TTL": "10m",
    "TOPTEN_IDENTITY_SESSION_TTL": "30d",
    "TOPTEN_IDENTITY_ROTATION_GRACE": "1m",
    "TOPTEN_EDGE_STREAM_HEARTBEAT": "15s",
}
EVENTS: Final = (
    ("update", "timestamp board version stale leaderboard"),
    ("me", "board rank score previousRank"),
    ("end", "board"),
    ("ping", "timestamp"),
    ("state", "version phase question deadline players answered board"),
    ("me", "version seatId nickname answer verdict pointsAwarded points rank"),
)
BOARDS: Final = (
    "all",
    "weekly",
    "weekly:2026-47",
    "monthly",
    "monthly:2026-11",
    "country:VN",
    "quiz:world",
    "custom:cup",
)
SOURCES: Final = ("all", "quiz:world", "tag:maths", "action:walk")
PERIODS: Final = (
    *("all", "daily", "weekly", "monthly", "yearly"),
    *("range:2026-11-01/2026-12-01", "every:3:2026-11-02"),
)
SEGMENTS: Final = (
    *("all", "country:TH,VN", "each-country", "group:0198c0de-0000-7000-8000-000000000001"),
    *("teams:sum", "teams:mean", "teams:best:3"),
)


def test_the_schema_has_what_is_published() -> None:
    assert find_breaking_changes(GRAPHQL, executable_schema()) == []
    changes = find_dangerous_changes(GRAPHQL, executable_schema())
    assert [each for each in changes if each.type is DangerousChangeType.ARG_DEFAULT_VALUE_CHANGE] == []


def test_messages_have_their_fields() -> None:
    missing = {name: set(names.split()) - _fields(name) for name, names in MESSAGES.items()}
    assert not any(missing.values()), missing


def test_points_are_numbers_in_the_json_of_events() -> None:
    """Proto3 JSON has 64-bit integers as text."""
    fields = _message("score.v1.ScoreUpdatedPayload").fields_by_name
    points = fields["new_total_score"], _message("quiz.v1.QuizCompletedPayload").fields_by_name["score_delta"]
    assert {field.type for field in points} == {FieldDescriptor.TYPE_INT32}


def test_enums_have_their_values() -> None:
    missing = {name: set(values.split()) - _values(name) for name, values in ENUMS.items()}
    assert not any(missing.values()), missing


def test_services_have_their_methods_and_scopes() -> None:
    for service, names in METHODS.items():
        _import(service)
        assert set(names.split()) <= set(methods(f"topten.{service}")), service
    for name, scope in SCOPES.items():
        service, _, method = name.partition("/")
        assert scope in methods(f"topten.{service}")[method].access, name


def test_errors_have_their_reasons() -> None:
    assert set(REASONS.split()) <= {each.name for each in Reason}


def test_commands_have_their_options() -> None:
    commands = _commands(typer.main.get_command(app))
    for name, options in COMMANDS.items():
        taken = {option for each in commands[name].params for option in each.opts}
        assert set(options.split()) <= taken, name
        required = {option for each in commands[name].params if each.required for option in each.opts}
        assert {each for each in required if each.startswith("--")} <= set(options.split()), name
    assert (EXIT_FINDING, EXIT_USAGE) == (1, 2)


def test_metrics_have_their_labels() -> None:
    rows = [
        re.findall(r"`(\w+)`", line.rsplit("|", 3)[0])
        for line in PAGE.read_text().splitlines()
        if line.startswith("| `")
    ]
    found = {name: set(labels) for name, *labels in rows}
    missing = {
        name
        for name, labels in METRICS.items()
        if not set(labels.split()) <= found.get(name, set()) or name not in found
    }
    assert not missing


def test_settings_have_their_defaults() -> None:
    found = {row.name: row.default for settings in PROCESSES.values() for row in table(settings)}
    assert {name: found.get(name) for name in DEFAULTS} == DEFAULTS


def test_streams_and_channels_have_their_names() -> None:
    assert (streams.QUIZ_STREAM, streams.QUIZ_SUBJECT) == ("QUIZ_EVENTS", "quiz.events")
    assert (streams.SCORE_DURABLE, streams.SCORE_CHANNEL) == ("score", "score.events")


def test_addresses_are_those_published() -> None:
    assert GRAPHQL_PATH == "/graphql"
    assert STREAM_PATH == "/api/v1/leaderboard/stream"
    assert ROOM_STREAM_PATH == "/api/v1/rooms/{pin}/stream"


def test_events_have_their_data() -> None:
    frame = Frame(board="all", generation=3, version=7, entries=[Entry(rank=1, user_id="a")])
    update = encode_update(frame).message.plain
    ping = encode_heartbeat(utc_now(), timedelta(seconds=15)).plain
    sent = [
        update,
        encode_me("all", Standing()).plain,
        encode_end("all").plain,
        ping,
        encode_room(RoomFrame(phase=ROOM_PHASE_LOBBY)).plain,
        encode_outcome(3, RoomOutcome(extra_time=EXTRA_TIME_NONE)).plain,
    ]
    for text, (name, keys) in zip(sent, EVENTS, strict=True):
        lines = dict(line.partition(b": ")[::2] for line in text.splitlines())
        assert lines[b"event"] == name.encode()
        assert set(keys.split()) <= set(orjson.loads(lines[b"data"])), name
    assert b"\nid: 3-7\n" in update
    assert ping.startswith(b":\n\n")
    (entry,) = orjson.loads(update.partition(b"data: ")[2])["leaderboard"]
    assert {"rank", "userId", "username", "score", "country", "previousRank", "gapToNext"} <= set(entry)


@pytest.mark.parametrize("name", BOARDS)
def test_boards_have_their_names(name: str) -> None:
    assert Board.parse(name, utc_now()).name.startswith(name)


@pytest.mark.parametrize(
    "definition",
    [
        *(Definition("cup", sources=(source,)) for source in SOURCES),
        *(Definition("cup", period=period) for period in PERIODS),
        *(Definition("cup", segment=segment) for segment in SEGMENTS),
    ],
    ids=[*SOURCES, *(f"period {each}" for each in PERIODS), *(f"segment {each}" for each in SEGMENTS)],
)
def test_definitions_take_the_published_texts(definition: Definition) -> None:
    assert problems(definition) == []


def _import(name: str) -> None:
    noun, version, _ = name.split(".", 2)
    for module in (f"{noun}", f"{noun}_service", f"{noun}_events", "confirmation"):
        if importlib.util.find_spec(f"topten.{noun}.{version}.{module}_pb2"):
            importlib.import_module(f"topten.{noun}.{version}.{module}_pb2")


def _message(name: str) -> Descriptor:
    _import(name)
    return descriptor_pool.Default().FindMessageTypeByName(f"topten.{name}")


def _fields(name: str) -> set[str]:
    return {field.json_name for field in _message(name).fields}


def _values(name: str) -> set[str]:
    _import(name)
    return set(descriptor_pool.Default().FindEnumTypeByName(f"topten.{name}").values_by_name)


def _commands(group: Any, name: str = "") -> dict[str, Any]:
    """Return every command below a group by its full name."""
    if not isinstance(group, TyperGroup):
        return {name: group}
    found = dict[str, Any]()
    for word, each in group.commands.items():
        found |= _commands(each, f"{name} {word}".strip())
    return found
