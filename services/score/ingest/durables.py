"""The durable consumers of the stream: one per partition, or one for an unpartitioned stream.

Owns their names, subjects and settings; their metadata tells publishers that workers read groups of events. The quiz
service publishes the number of partitions in the stream's metadata and may change it. Subjects of partitions have one token
more than those without, so that no two durables overlap. Events stored under a former layout are drained by its durables
before those are removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, ReplayPolicy
from nats.js.errors import NotFoundError

from services.streams import QUIZ_SUBJECT, READS_GROUPS, READS_KEY, SCORE_DURABLE

PARTITIONS_KEY = "partitions"


class Durable(NamedTuple):
    """A durable consumer; `partition` is 0 for an unpartitioned stream."""

    name: str
    partition: int
    subject: str


_UNPARTITIONED = Durable(SCORE_DURABLE, 0, f"{QUIZ_SUBJECT}.*")
_PARTITION = re.compile(rf"{SCORE_DURABLE}-[0-9]{{1,4}}")


def durables_of(partitions: int) -> Mapping[str, Durable]:
    """Return the durables of a stream with this many partitions, by name; 0 is an unpartitioned stream."""
    if not partitions:
        return {SCORE_DURABLE: _UNPARTITIONED}
    return {durable.name: durable for durable in map(_of_partition, range(partitions))}


def outdated_durables(names: Iterable[str], partitions: int) -> list[Durable]:
    """Return those of the named consumers that are score's, but not of a stream with this many partitions."""
    outdated = [name for name in names if name not in durables_of(partitions)]
    of_partitions = [
        _of_partition(int(name.removeprefix(f"{SCORE_DURABLE}-"))) for name in outdated if _PARTITION.fullmatch(name)
    ]
    return [_UNPARTITIONED, *of_partitions] if SCORE_DURABLE in outdated else of_partitions


class Durables:
    """The durables of one stream. The driver's errors are not translated."""

    def __init__(self, jetstream: JetStreamContext, stream: str, *, ack_wait: float, max_ack_pending: int) -> None:
        self._jetstream = jetstream
        self._stream = stream
        self._ack_wait = ack_wait
        self._max_ack_pending = max_ack_pending

    async def partitions(self) -> int:
        """Return the stream's number of partitions; 0 if it is unpartitioned."""
        info = await self._jetstream.stream_info(self._stream)
        return int((info.config.metadata or {}).get(PARTITIONS_KEY, 0))

    async def remove_drained(self, partitions: int) -> tuple[list[Durable], dict[str, int]]:
        """Remove outdated durables that are empty.

        Returns the outdated durables that are not empty, and the number of pending events of every consumer by name,
        delivered but unacknowledged ones included.
        """
        infos = await self._jetstream.consumers_info(self._stream)
        pending = {info.name: (info.num_pending or 0) + (info.num_ack_pending or 0) for info in infos}
        remaining = []
        for durable in outdated_durables(pending, partitions):
            if pending[durable.name]:
                remaining.append(durable)
            else:
                with suppress(NotFoundError):
                    await self._jetstream.delete_consumer(self._stream, durable.name)
        return remaining, pending

    async def create(self, durable: Durable) -> None:
        """Create the durable, or update its settings."""
        await self._jetstream.add_consumer(
            self._stream,
            ConsumerConfig(
                durable_name=durable.name,
                description="counts quiz events into scores",
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.EXPLICIT,
                replay_policy=ReplayPolicy.INSTANT,
                ack_wait=self._ack_wait,
                max_deliver=-1,
                filter_subject=durable.subject,
                max_ack_pending=self._max_ack_pending,
                metadata={READS_KEY: READS_GROUPS},
            ),
        )

    async def exists(self, durable: Durable) -> bool:
        """Return whether the durable exists."""
        try:
            await self._jetstream.consumer_info(self._stream, durable.name)
        except NotFoundError:
            return False
        return True


class StreamState(NamedTuple):
    """The stream: when it was created, its first unacknowledged sequence (greater than the last if empty), its last used."""

    created: str
    first: int
    last: int


async def stream_state(jetstream: JetStreamContext, stream: str) -> StreamState:
    """Return the stream's state. Raises NotFoundError if there is no stream."""
    info = await jetstream.stream_info(stream)
    first = info.state.first_seq if info.state.messages else info.state.last_seq + 1
    return StreamState("" if info.created is None else info.created.isoformat(), first, info.state.last_seq)


def _of_partition(number: int) -> Durable:
    return Durable(f"{SCORE_DURABLE}-{number}", number, f"{QUIZ_SUBJECT}.{number}.*")
