"""A client of NATS with a short way for messages that come in bulk.

nats-py takes each message through a queue to a task of its subscription, a third of what receiving one costs. Here a
subscription may name a function that is called with the bytes at once, in the order of the wire. It hangs on one method
that nats-py does not publish; should that be called otherwise one day, every message goes the long way and none is lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

Receive = Callable[[str, str, bytes, bytes], None]
"""Subject, reply subject, payload, headers as they are on the wire."""
# A status of JetStream begins with `NATS/1.0 404 …`; the headers of a message follow a break.
_OF_A_MESSAGE = b"NATS/1.0\r\n"


class BulkClient(Client):
    """`subscribe_bulk` is what it adds. One connection, one event loop, as `Client`."""

    def __init__(self) -> None:
        super().__init__()
        self._receivers: dict[int, Receive] = {}

    async def subscribe_bulk(
        self, subject: str, receive: Receive, otherwise: Callable[[Msg], Awaitable[None]]
    ) -> Subscription:
        """A subscription whose messages go to `receive`, but for those without a reply subject and statuses.

        `receive` must be quick, must not raise, and bounds by itself what it keeps. `otherwise` is the callback for the
        rest; it must be able to take any message.
        """
        subscription = await self.subscribe(subject, cb=otherwise)
        self._receivers[subscription._id] = receive  # noqa: SLF001  # by which the wire names it
        return subscription

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        receive = self._receivers.get(sid)
        if receive is None or not reply or (headers and not headers.startswith(_OF_A_MESSAGE)):
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        self.stats["in_msgs"] += 1
        self.stats["in_bytes"] += len(data)
        # Without headers there is None, whatever the type says.
        receive(subject.decode(), reply.decode(), data, headers or b"")
