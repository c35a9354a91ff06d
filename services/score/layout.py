"""Which durables the stream has: one a partition, or one for all.

Owns their names, subjects and settings. The quiz service says in the stream's metadata how many partitions there are, and
may change its mind. Subjects of partitions have a token more than those without, so that no two durables overlap: what
was stored under a former layout is emptied by its durable, before that goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, ReplayPolicy
from nats.js.errors import NotFoundError

DURABLE = "score"
SUBJECTS = "quiz.events"
PARTITIONS_KEY = "partitions"


class Durable(NamedTuple):
    """A durable consumer by its name; `partition` is 0 where there are none."""

    name: str
    partition: int
    subject: str


_UNPARTITIONED = Durable(DURABLE, 0, f"{SUBJECTS}.*")
_PARTITION = re.compile(rf"{DURABLE}-[0-9]{{1,4}}")


def durables(partitions: int) -> Mapping[str, Durable]:
    """The durables of a stream with so many partitions, by name; 0 is no partitions."""
    if not partitions:
        return {DURABLE: _UNPARTITIONED}
    return {found.name: found for found in map(_of_partition, range(partitions))}


def former(names: Iterable[str], partitions: int) -> list[Durable]:
    """Those of the names that are durables of ours and that a stream with so many partitions does not have any more."""
    others = [name for name in names if name not in durables(partitions)]
    found = [_of_partition(int(name.removeprefix(f"{DURABLE}-"))) for name in others if _PARTITION.fullmatch(name)]
    return [_UNPARTITIONED, *found] if DURABLE in others else found


class Layout:
    """The durables of one stream. Methods raise what the driver raises."""

    def __init__(self, jetstream: JetStreamContext, stream: str, *, ack_wait: float, max_ack_pending: int) -> None:
        self._jetstream = jetstream
        self._stream = stream
        self._ack_wait = ack_wait
        self._max_ack_pending = max_ack_pending

    async def partitions(self) -> int:
        """How many partitions the stream says it has; 0 is none."""
        info = await self._jetstream.stream_info(self._stream)
        return int((info.config.metadata or {}).get(PARTITIONS_KEY, 0))

    async def arrange(self, partitions: int) -> tuple[list[Durable], dict[str, int]]:
        """Removes former durables that are empty.

        Returns those that still have something to be counted, and how many events wait in each durable that there is,
        those that were delivered and not acknowledged among them.
        """
        infos = await self._jetstream.consumers_info(self._stream)
        waiting = {info.name: (info.num_pending or 0) + (info.num_ack_pending or 0) for info in infos}
        left = []
        for durable in former(waiting, partitions):
            if waiting[durable.name]:
                left.append(durable)
            else:
                with suppress(NotFoundError):
                    await self._jetstream.delete_consumer(self._stream, durable.name)
        return left, waiting

    async def make(self, durable: Durable) -> None:
        """Makes the durable, or brings it up to date."""
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
            ),
        )

    async def exists(self, durable: Durable) -> bool:
        """True if the durable is there."""
        try:
            await self._jetstream.consumer_info(self._stream, durable.name)
        except NotFoundError:
            return False
        return True


async def reach(jetstream: JetStreamContext, stream: str) -> tuple[int, int]:
    """The first sequence that is still on the stream and the last that ever was; the first is behind it if all is done."""
    state = (await jetstream.stream_info(stream)).state
    return (state.first_seq if state.messages else state.last_seq + 1), state.last_seq


def _of_partition(number: int) -> Durable:
    return Durable(f"{DURABLE}-{number}", number, f"{SUBJECTS}.{number}.*")
