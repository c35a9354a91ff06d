"""One list of fields: the contract of an entry, its type in GraphQL, its event on the stream, and the guide of both.

A field that is added to `topten.leaderboard.v1.Entry` must be in all of them, or be named here with a reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from graphql import GraphQLObjectType
from topten.leaderboard.v1.leaderboard_pb2 import Entry, Frame
from topten.leaderboard.v1.leaderboard_service_pb2 import Standing

from edge.graphql.resolvers.types import LeaderboardEntry
from edge.graphql.schema import executable_schema
from edge.stream.frames import encode_end, encode_heartbeat, encode_me, encode_update
from services.runtime.clock import utc_now

GUIDE = Path(__file__).parents[2] / "docs" / "app-developer.md"
# GraphQL resolves these beside the entry.
RESOLVED = {"user"}
STRING = FieldDescriptor.TYPE_STRING


def filled() -> Entry:
    """Return an entry with a different value in each of its fields."""
    entry = Entry()
    for number, field in enumerate(Entry.DESCRIPTOR.fields, 1):
        if field.name == "metadata":
            entry.metadata["name"] = f"text {number}"
        else:
            setattr(entry, field.name, f"text {number}" if field.type == STRING else number)
    return entry


ENTRY = filled()
EXPECTED = {field.json_name: getattr(ENTRY, field.name) for field in Entry.DESCRIPTOR.fields}
EVENTS = {
    "update": encode_update(Frame(board="all", entries=[ENTRY])).message,
    "me": encode_me("all", Standing(rank=1, score=2, previous_rank=3, gap_to_next=4)),
    "end": encode_end("all"),
    "ping": encode_heartbeat(utc_now(), timedelta(seconds=15)),
}


def payload(event: str) -> dict[str, Any]:
    (line,) = re.findall(rb"^data: (.*)$", EVENTS[event].plain, re.MULTILINE)
    found: dict[str, Any] = orjson.loads(line)
    return found


def names(value: Any) -> Iterator[str]:
    """Yield the names of all members, at any depth."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from names(inner)


def test_every_field_of_an_entry_is_in_graphql() -> None:
    published = executable_schema().type_map["LeaderboardEntry"]
    assert isinstance(published, GraphQLObjectType)
    assert published.fields.keys() - RESOLVED == EXPECTED.keys(), "edge/graphql/resolvers/types.py, then make gen"
    shown = LeaderboardEntry.from_proto(ENTRY)
    read = {field.json_name: getattr(shown, field.name) for field in Entry.DESCRIPTOR.fields}
    assert read == EXPECTED, "LeaderboardEntry.from_proto"


def test_every_field_of_an_entry_is_on_the_stream() -> None:
    (entry,) = payload("update")["leaderboard"]
    assert entry == EXPECTED, "edge/stream/frames.py"


def test_an_entry_without_metadata_has_no_member_for_it() -> None:
    """So that every other board costs no byte more."""
    bare = encode_update(Frame(board="all", entries=[Entry(rank=1, user_id="a")])).message.plain
    assert b"metadata" not in bare


def test_every_field_of_a_players_own_place_is_on_the_stream() -> None:
    standing = MessageToDict(Standing(rank=1, score=2, previous_rank=3, gap_to_next=4, user_id="p"))
    of_the_caller = {"board", *(name for name in standing if name != "userId")}
    assert payload("me").keys() == of_the_caller, "edge/stream/frames.py"


@pytest.mark.parametrize("event", EVENTS)
def test_the_guide_lists_the_members_of_an_event(event: str) -> None:
    (row,) = re.findall(rf"^\| `{event}`.*$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    documented = set(re.findall(r'"(\w+)"', row))
    members = {*names(payload(event)), *(EXPECTED if event == "update" else ())} - {*ENTRY.metadata}
    assert documented == members, f"docs/app-developer.md, event {event}"
