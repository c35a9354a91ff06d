"""The messages of the stream: one event, or a group of events that were recorded together."""

from __future__ import annotations

from typing import NamedTuple

from google.protobuf.message import DecodeError
from topten.quiz.v1 import quiz_events_pb2

from services.streams import EVENT_GROUP


class Part(NamedTuple):
    """An event in a message, with the subject that it has alone, which names its player."""

    subject: str
    data: bytes


class Contents(NamedTuple):
    """The events in a message, and the traceparents they belong to."""

    parts: tuple[Part, ...]
    traces: tuple[str, ...]


def contents_of(subject: str, data: bytes, trace: str) -> Contents:
    """Return what is in a message. `trace` is the traceparent in its headers; bytes that are no group count as one event."""
    try:
        group = quiz_events_pb2.EventGroup.FromString(data) if _is_group(data) else None
    except DecodeError:
        group = None
    if group is None or not group.events:
        return Contents((Part(subject, data),), (trace,) if trace else ())
    partition = subject.rpartition(".")[0]
    parts = tuple(Part(f"{partition}.{each.user_id}", each.event) for each in group.events)
    return Contents(parts, tuple(group.traceparents))


def _is_group(data: bytes) -> bool:
    return quiz_events_pb2.EventHeader.FromString(data).event_type == EVENT_GROUP
