"""gRPC of webhooks: request → service → response."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, Final

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from topten.webhook.v1 import webhook_pb2, webhook_service_pb2_grpc
from topten.webhook.v1 import webhook_service_pb2 as messages

from services.runtime.grpc.call_context import caller
from services.score.webhooks.delivery_store import DEAD, DELIVERED, WAITING, Delivery
from services.score.webhooks.service import Registration, Webhooks
from services.score.webhooks.webhook import Webhook

Context = grpc.aio.ServicerContext[Any, Any]
_STATES: Final = {
    WAITING: webhook_pb2.Delivery.WAITING,
    DELIVERED: webhook_pb2.Delivery.DELIVERED,
    DEAD: webhook_pb2.Delivery.DEAD,
}
_NAMES: Final = {number: name for name, number in _STATES.items()}


class WebhookServicer(webhook_service_pb2_grpc.WebhookServiceServicer):
    """The methods of `topten.webhook.v1.WebhookService`. Writes are shielded from cancellation."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    async def PutWebhook(self, request: messages.PutWebhookRequest, context: Context) -> messages.PutWebhookResponse:
        """See webhook_service.proto."""
        wanted = Registration(
            request.name, request.url, frozenset(request.kinds), frozenset(request.boards), request.top
        )
        webhook, secret = await asyncio.shield(self._webhooks.put(wanted, caller()))
        return messages.PutWebhookResponse(webhook=_webhook(webhook), secret=secret)

    async def ListWebhooks(
        self, request: messages.ListWebhooksRequest, context: Context
    ) -> messages.ListWebhooksResponse:
        """See webhook_service.proto."""
        return messages.ListWebhooksResponse(webhooks=map(_webhook, await self._webhooks.all(caller())))

    async def DeleteWebhook(
        self, request: messages.DeleteWebhookRequest, context: Context
    ) -> messages.DeleteWebhookResponse:
        """See webhook_service.proto."""
        await asyncio.shield(self._webhooks.delete(request.webhook_id, caller()))
        return messages.DeleteWebhookResponse()

    async def RotateSecret(
        self, request: messages.RotateSecretRequest, context: Context
    ) -> messages.RotateSecretResponse:
        """See webhook_service.proto."""
        rotating = self._webhooks.rotate(request.webhook_id, request.keep_previous_for.ToTimedelta(), caller())
        webhook, secret = await asyncio.shield(rotating)
        return messages.RotateSecretResponse(webhook=_webhook(webhook), secret=secret)

    async def ListDeliveries(
        self, request: messages.ListDeliveriesRequest, context: Context
    ) -> messages.ListDeliveriesResponse:
        """See webhook_service.proto."""
        state = _NAMES.get(request.state)
        deliveries, token = await self._webhooks.deliveries(
            request.webhook_id, state, request.page_size, request.page_token, caller()
        )
        return messages.ListDeliveriesResponse(deliveries=map(_delivery, deliveries), next_page_token=token)

    async def ReplayDelivery(
        self, request: messages.ReplayDeliveryRequest, context: Context
    ) -> messages.ReplayDeliveryResponse:
        """See webhook_service.proto."""
        replaying = self._webhooks.replay(request.webhook_id, request.delivery_id, caller())
        return messages.ReplayDeliveryResponse(replayed=await asyncio.shield(replaying))


def _webhook(webhook: Webhook) -> webhook_pb2.Webhook:
    has_previous = webhook.previous_until is not None and webhook.previous_until != webhook.rotated_at
    return webhook_pb2.Webhook(
        webhook_id=webhook.webhook_id,
        owner=webhook.owner,
        name=webhook.name,
        url=webhook.url,
        kinds=sorted(webhook.kinds),
        boards=sorted(webhook.boards),
        top=webhook.top,
        created_at=_time(webhook.created_at),
        rotated_at=_time(webhook.rotated_at),
        previous_secret_valid_until=_time(webhook.previous_until if has_previous else None),
    )


def _delivery(delivery: Delivery) -> webhook_pb2.Delivery:
    return webhook_pb2.Delivery(
        delivery_id=delivery.delivery_id,
        kind=delivery.kind,
        state=_STATES[delivery.state],
        body=delivery.body,
        created_at=_time(delivery.created_at),
        attempts=delivery.attempts,
        status_code=delivery.status,
        last_error=delivery.error,
        next_attempt_at=_time(delivery.next_at if delivery.state == WAITING else None),
        finished_at=_time(delivery.finished_at),
    )


def _time(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    time = Timestamp()
    time.FromDatetime(at)
    return time
