"""Reads a copy of Topten's events from NATS: a stream that sources QUIZ_EVENTS, and what is in its messages.

python events.py nats://127.0.0.1:4222 STUDIO 10      # create the copy if there is none, and print ten events
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any

import nats
from google.protobuf.json_format import MessageToDict
from nats.js.api import DiscardPolicy, StreamConfig, StreamSource
from topten.action.v1 import action_events_pb2 as action
from topten.identity.v1 import identity_events_pb2 as identity
from topten.quiz.v1 import quiz_events_pb2 as quiz

# QUIZ_EVENTS is the work queue of Topten's own workers: read it only through a copy.
SOURCE = "QUIZ_EVENTS"
MESSAGES: dict[str, Any] = {
    "QUIZ_COMPLETED": quiz.QuizCompletedEvent,
    "ACTION_COMPLETED": action.ActionCompletedEvent,
    "ACTION_VOIDED": quiz.ActionVoidedEvent,
    "ACTION_REJUDGED": quiz.ActionRejudgedEvent,
    "SCORE_ADJUSTED": quiz.ScoreAdjustedEvent,
}
# Types about accounts: PLAYER_BLOCKED, PLAYER_UNBLOCKED, COUNTRY_CHANGED, PROFILE_CHANGED, PLAYER_ERASED.
OTHER = identity.PlayerChangedEvent


def events_in(data: bytes) -> Iterator[Any]:
    """The events of a message: one, or under load several."""
    kind = quiz.EventHeader.FromString(data).event_type
    if kind == "EVENT_GROUP":
        for grouped in quiz.EventGroup.FromString(data).events:
            yield from events_in(grouped.event)
    else:
        yield MESSAGES.get(kind, OTHER).FromString(data)


async def main(url: str, name: str, count: int) -> None:
    client = await nats.connect(url)
    jetstream = client.jetstream()
    # A copy has what the queue has while the copy exists: create it before you need it, and bound what it keeps.
    await jetstream.add_stream(
        StreamConfig(
            name=name,
            sources=[StreamSource(name=SOURCE)],
            max_age=7 * 24 * 3600,
            max_bytes=64 * 1024 * 1024,
            discard=DiscardPolicy.OLD,
        )
    )
    subscription = await jetstream.pull_subscribe("", durable=f"{name}-reader", stream=name)
    seen: set[str] = set()  # keep it where you keep what you make of the events: each may arrive more than once
    while len(seen) < count:
        for message in await subscription.fetch(min(100, count - len(seen)), timeout=30):
            for event in events_in(message.data):
                if event.event_id not in seen:
                    seen.add(event.event_id)
                    print(json.dumps(MessageToDict(event)), flush=True)
            await message.ack()
    await client.close()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: events.py NATS_URL STREAM COUNT")
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
