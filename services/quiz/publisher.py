"""The stream QUIZ_EVENTS: its shape.

Owns the stream's configuration. It is a work queue that refuses nothing of its own: no age limit, no deletion, no purge;
what waits is never dropped, and when it is full a publish fails and the event stays in its document.
"""

from __future__ import annotations

from typing import Final

import structlog
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig, SubjectTransform
from nats.js.errors import NotFoundError

from services.runtime.durability import stream_faults
from services.runtime.outbox import EventPublisher

STREAM: Final = "QUIZ_EVENTS"
SUBJECT: Final = "quiz.events"
DUPLICATE_WINDOW_SECONDS: Final = 120.0
_log = structlog.get_logger("publisher")


class QuizPublisher(EventPublisher):
    """Makes the stream, and publishes to it."""

    def __init__(self, jetstream: JetStreamContext) -> None:
        super().__init__(jetstream, STREAM, SUBJECT)
        self._jetstream = jetstream

    async def prepare(self, *, partitions: int, replicas: int, max_bytes: int) -> None:
        """Make the stream as it must be, or change it so. Raises a NATS error if the server refuses.

        Events are stored under `quiz.events.<partition>.<user id>`, the partition being the server's hash of the user;
        how many there are stands in the stream's metadata for its consumers to read. With 0 they are stored as published.
        """
        transform = SubjectTransform(
            src=f"{SUBJECT}.*", dest=f"{SUBJECT}.{{{{partition({partitions},1)}}}}.{{{{wildcard(1)}}}}"
        )
        config = StreamConfig(
            name=STREAM,
            subjects=[f"{SUBJECT}.>"],
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
        try:
            await self._jetstream.stream_info(STREAM)
        except NotFoundError:
            await self._jetstream.add_stream(config)
            _log.info("stream made", stream=STREAM, partitions=partitions)
        else:
            await self._jetstream.update_stream(config)

    async def faults(self) -> list[str]:
        """What lets the stream, as it is, lose what it acknowledged."""
        return stream_faults(await self._jetstream.stream_info(STREAM))
