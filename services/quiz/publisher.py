"""The stream QUIZ_EVENTS: its configuration, and publishing to it.

The stream is a work queue that never drops an event: no age limit, no deletion, no purge. When it is full, publishing
fails and the event stays in its document. A stream that is gone, because somebody deleted it or NATS came back with an empty
disk, is created again for as long as a process lives.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import structlog
import uuid_utils
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig, SubjectTransform
from nats.js.errors import NotFoundError
from topten.quiz.v1 import quiz_events_pb2

from services.runtime.outbox.publishing import EventPublisher, PublishError, UnpublishedEvent
from services.runtime.stores.durability import stream_faults
from services.streams import (
    EVENT_GROUP,
    GROUP_SUFFIX,
    QUIZ_STREAM,
    QUIZ_SUBJECT,
    READS_GROUPS,
    READS_KEY,
    SCORE_DURABLE,
)

# The largest events have 2 KiB, and NATS takes messages of 1 MiB.
MAX_GROUP: Final = 250
# Of the traces that a group's events belong to, these many are named.
MAX_TRACES: Final = 16
READERS_SECONDS: Final = 10.0
DUPLICATE_WINDOW_SECONDS: Final = 120.0
_log = structlog.get_logger("publisher")


class QuizPublisher(EventPublisher):
    """Publishes to QUIZ_EVENTS, which it creates and keeps.

    Events that were recorded together share a message per partition: the stream writes each message to disk, delivers it and
    takes it off again one by one. Until every consumer of the score service says that it reads groups, each event is a
    message.

    Events are stored under `quiz.events.<partition>.<user id>`; the server computes the partition from the user id.
    Consumers read the number of partitions from the stream's metadata. With 0 events are stored as published.
    """

    def __init__(self, jetstream: JetStreamContext, *, partitions: int, replicas: int, max_bytes: int) -> None:
        super().__init__(jetstream, QUIZ_STREAM, QUIZ_SUBJECT)
        self._jetstream = jetstream
        self._partitions = partitions
        self._groups_are_read = False
        self._check_at = float("-inf")
        transform = SubjectTransform(
            src=f"{QUIZ_SUBJECT}.*", dest=f"{QUIZ_SUBJECT}.{{{{partition({partitions},1)}}}}.{{{{wildcard(1)}}}}"
        )
        self._config = StreamConfig(
            name=QUIZ_STREAM,
            subjects=[f"{QUIZ_SUBJECT}.>"],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            max_bytes=max_bytes,
            duplicate_window=DUPLICATE_WINDOW_SECONDS,
            num_replicas=replicas,
            deny_delete=True,
            deny_purge=True,
            subject_transform=transform if partitions else None,
            metadata={"partitions": str(partitions)},
        )

    async def prepare(self) -> None:
        """Create the stream, or update its configuration. Raises a NATS error if the server refuses."""
        if not await self.keep():
            await self._jetstream.update_stream(self._config)

    async def keep(self) -> bool:
        """Create the stream if it is missing, and return whether it was. Raises a NATS error if the server refuses."""
        try:
            await self._jetstream.stream_info(QUIZ_STREAM)
        except NotFoundError:
            self._groups_are_read = False
            await self._jetstream.add_stream(self._config)
            _log.warning("stream created", stream=QUIZ_STREAM)
            return True
        await self._look_at_readers()
        return False

    async def faults(self) -> list[str]:
        """Return the properties of the current stream by which it could lose acknowledged events."""
        return stream_faults(await self._jetstream.stream_info(QUIZ_STREAM))

    async def publish_all(self, events: Sequence[UnpublishedEvent]) -> list[PublishError | None]:
        """Publish events that were recorded together, in groups by partition. Return for each None, or what failed."""
        if len(events) == 1 or not (self._partitions and self._groups_are_read):
            return await super().publish_all(events)
        groups: defaultdict[tuple[int, str], list[UnpublishedEvent]] = defaultdict(list)
        for event in events:
            groups[partition_of(event.user_id, self._partitions), event.recorded_on].append(event)
        pieces = [
            (number, each[start : start + MAX_GROUP])
            for (number, _), each in groups.items()
            for start in range(0, len(each), MAX_GROUP)
        ]
        errors = await asyncio.gather(*(self._publish_group(number, piece) for number, piece in pieces))
        failures = {event.event_id: error for (_, piece), error in zip(pieces, errors, strict=True) for event in piece}
        return [failures[event.event_id] for event in events]

    async def _publish_group(self, partition: int, events: Sequence[UnpublishedEvent]) -> PublishError | None:
        try:
            if len(events) == 1:
                await self.publish(events[0])
            else:
                traces = list(dict.fromkeys(event.trace for event in events if event.trace))[:MAX_TRACES]
                group = quiz_events_pb2.EventGroup(
                    event_id=str(uuid_utils.uuid7()),
                    event_type=EVENT_GROUP,
                    events=[quiz_events_pb2.GroupedEvent(user_id=event.user_id, event=event.data) for event in events],
                    traceparents=traces,
                )
                await self.send(
                    f"{partition}.{GROUP_SUFFIX}",
                    group.event_id,
                    group.SerializeToString(),
                    events[0].recorded_on,
                    traces,
                )
        except PublishError as error:
            return error
        return None

    async def _look_at_readers(self) -> None:
        """Find out whether every consumer of the score service reads groups."""
        now = time.monotonic()
        if self._partitions and now >= self._check_at:
            durables = [
                info.config.metadata or {}
                for info in await self._jetstream.consumers_info(QUIZ_STREAM)
                if info.name.startswith(SCORE_DURABLE)
            ]
            self._groups_are_read = bool(durables) and all(each.get(READS_KEY) == READS_GROUPS for each in durables)
            if self._groups_are_read:
                self._check_at = now + READERS_SECONDS


def partition_of(user_id: str, partitions: int) -> int:
    """Return the partition that the server's transform gives a subject with this id: FNV-1a, as nats-server computes it."""
    if partitions == 1:
        return 0
    digest = 0x811C9DC5
    for byte in user_id.encode():
        digest = (digest ^ byte) * 0x01000193 & 0xFFFFFFFF
    return digest % partitions
