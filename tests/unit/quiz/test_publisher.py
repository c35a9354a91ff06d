"""Events that were recorded together share messages of the stream; what the stream cannot store is told for each."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
from nats.js.api import AckPolicy, ConsumerConfig
from topten.quiz.v1 import quiz_events_pb2

from services.quiz.publisher import MAX_GROUP, QuizPublisher
from services.runtime.config.settings import NatsConfig
from services.runtime.outbox.publishing import UnpublishedEvent
from services.runtime.stores.jetstream import Nats, open_jetstream
from services.score.ingest.durables import Durables, durables_of
from services.score.ingest.messages import contents_of
from services.streams import EVENT_GROUP, QUIZ_COMPLETED, QUIZ_STREAM
from tests.servers import running

PARTITIONS = 4


@pytest.fixture
async def nats() -> AsyncIterator[Nats]:
    async with running("nats") as server, open_jetstream(NatsConfig(url=server.url), "quiz") as opened:
        yield opened


def event() -> UnpublishedEvent:
    event_id, user_id = str(uuid.uuid4()), str(uuid.uuid4())
    data = quiz_events_pb2.QuizCompletedEvent(event_id=event_id, event_type=QUIZ_COMPLETED).SerializeToString()
    return UnpublishedEvent(event_id, user_id, data, "")


async def opened(nats: Nats, *, reads_groups: bool) -> QuizPublisher:
    publisher = QuizPublisher(nats.jetstream, partitions=PARTITIONS, replicas=1, max_bytes=1 << 26)
    await publisher.prepare()
    durables = Durables(nats.jetstream, QUIZ_STREAM, ack_wait=15, max_ack_pending=1000)
    for durable in durables_of(PARTITIONS).values():
        await durables.create(durable)
    if not reads_groups:
        # As a worker of an earlier version leaves it.
        former = ConsumerConfig(durable_name="score-0", ack_policy=AckPolicy.EXPLICIT, filter_subject="quiz.events.0.*")
        await nats.jetstream.delete_consumer(QUIZ_STREAM, "score-0")
        await nats.jetstream.add_consumer(QUIZ_STREAM, former)
    await publisher.prepare()
    return publisher


async def stored(nats: Nats) -> list[tuple[int, bytes]]:
    """The messages of the stream, each with its partition."""
    state = (await nats.jetstream.stream_info(QUIZ_STREAM)).state
    messages = [await nats.jetstream.get_msg(QUIZ_STREAM, seq) for seq in range(1, state.last_seq + 1)]
    return [(int((message.subject or "").split(".")[2]), message.data or b"") for message in messages]


async def test_events_of_a_group_share_one_message_per_partition(nats: Nats) -> None:
    publisher = await opened(nats, reads_groups=True)
    events = [event() for _ in range(60)]
    assert await publisher.publish_all(events) == [None] * 60
    messages = await stored(nats)
    assert len(messages) == PARTITIONS
    assert {quiz_events_pb2.EventHeader.FromString(data).event_type for _, data in messages} == {EVENT_GROUP}
    held = [part for _, message in messages for part in contents_of("quiz.events.0.group", message, "").parts]
    expected = [(f"quiz.events.0.{each.user_id}", each.data) for each in events]
    assert sorted(held) == sorted(expected)
    # The server puts an event that is published alone into the same partition.
    together = {part.data: partition for partition, message in messages for part in contents_of("", message, "").parts}
    for each in events:
        await publisher.publish(each)
    alone = {data: partition for partition, data in (await stored(nats))[PARTITIONS:]}
    assert alone == together


async def test_events_are_published_alone_until_every_consumer_reads_groups(nats: Nats) -> None:
    publisher = await opened(nats, reads_groups=False)
    events = [event() for _ in range(8)]
    assert await publisher.publish_all(events) == [None] * 8
    assert sorted(data for _, data in await stored(nats)) == sorted(each.data for each in events)


async def test_one_event_is_a_message_of_its_own_and_large_groups_are_divided(nats: Nats) -> None:
    publisher = await opened(nats, reads_groups=True)
    (first, *_), player = [event()], str(uuid.uuid4())
    assert await publisher.publish_all([first]) == [None]
    many = [UnpublishedEvent(each.event_id, player, each.data, "") for each in (event() for _ in range(MAX_GROUP + 1))]
    assert await publisher.publish_all(many) == [None] * len(many)
    messages = [data for _, data in await stored(nats)]
    assert messages[0] == first.data
    assert sorted(len(contents_of("", data, "").parts) for data in messages) == [1, 1, MAX_GROUP]
