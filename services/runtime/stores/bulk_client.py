"""A NATS client with a fast path for messages in bulk.

nats-py passes each message through a queue to the task of its subscription, a third of the cost of receiving one. Here a
subscription may have a function that is called directly with the bytes, in the order of the wire. It overrides one private
method of nats-py; if a new version renames it, all messages take the normal path and none is lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

Receive = Callable[[str, str, bytes, bytes], None]
"""Receives subject, reply subject, payload, and headers as on the wire."""
# The headers of a message start with this line, a JetStream status with `NATS/1.0 404 …`.
_MESSAGE_HEADER = b"NATS/1.0\r\n"


class BulkClient(Client):
    """A `Client` with `subscribe_bulk`. One connection; use from one event loop."""

    def __init__(self) -> None:
        super().__init__()
        self._receivers: dict[int, Receive] = {}

    async def subscribe_bulk(
        self, subject: str, receive: Receive, otherwise: Callable[[Msg], Awaitable[None]]
    ) -> Subscription:
        """Subscribe with `receive` for all messages except statuses and those without a reply subject.

        `receive` must be fast, must not raise, and must bound what it stores. `otherwise` is the callback for the rest, and
        must accept any message.
        """
        subscription = await self.subscribe(subject, cb=otherwise)
        self._receivers[subscription._id] = receive  # noqa: SLF001  # its id on the wire, without a public name
        return subscription

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        receive = self._receivers.get(sid)
        if receive is None or not reply or (headers and not headers.startswith(_MESSAGE_HEADER)):
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        self.stats["in_msgs"] += 1
        self.stats["in_bytes"] += len(data)
        # Without headers this is None, contrary to its type.
        receive(subject.decode(), reply.decode(), data, headers or b"")
