"""What the operator does to webhooks, of every owner."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from topten.webhook.v1 import webhook_service_pb2 as messages
from topten.webhook.v1.webhook_pb2 import Delivery, Webhook

from services.cli.system.client import Endpoints
from services.cli.system.operator_client import webhook_service
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from topten.webhook.v1.webhook_service_pb2_grpc import WebhookServiceAsyncStub

STATES: Final = {"waiting": Delivery.WAITING, "delivered": Delivery.DELIVERED, "dead": Delivery.DEAD}


async def put_webhook(
    endpoints: Endpoints, name: str, url: str, kinds: Sequence[str], boards: Sequence[str], top: int
) -> str:
    """Register the operator's webhook of this name and return its secret; or change it, and return the empty string."""
    request = messages.PutWebhookRequest(name=name, url=url, kinds=kinds, boards=boards, top=top)
    async with webhook_service(endpoints) as (stub, token):
        return (await call(stub.PutWebhook, request, token=token)).secret


async def list_webhooks(endpoints: Endpoints) -> Sequence[Webhook]:
    """Return all webhooks by owner and name."""
    async with webhook_service(endpoints) as (stub, token):
        return (await call(stub.ListWebhooks, messages.ListWebhooksRequest(), token=token)).webhooks


async def delete_webhook(endpoints: Endpoints, which: str) -> None:
    """Delete a webhook by name or id. Raises WEBHOOK_NOT_FOUND."""
    async with webhook_service(endpoints) as (stub, token):
        request = messages.DeleteWebhookRequest(webhook_id=await _id_of(stub, token, which))
        await call(stub.DeleteWebhook, request, token=token)


async def rotate_secret(endpoints: Endpoints, which: str, keep: timedelta) -> str:
    """Replace the secret of a webhook and return the new one. Raises WEBHOOK_NOT_FOUND."""
    async with webhook_service(endpoints) as (stub, token):
        request = messages.RotateSecretRequest(webhook_id=await _id_of(stub, token, which))
        request.keep_previous_for.FromTimedelta(keep)
        return (await call(stub.RotateSecret, request, token=token)).secret


async def list_deliveries(endpoints: Endpoints, which: str, state: str, limit: int) -> Sequence[Delivery]:
    """Return the latest deliveries, of one of STATES unless `state` is empty. Raises WEBHOOK_NOT_FOUND."""
    async with webhook_service(endpoints) as (stub, token):
        request = messages.ListDeliveriesRequest(webhook_id=await _id_of(stub, token, which), page_size=limit)
        if state:
            request.state = STATES[state]
        return (await call(stub.ListDeliveries, request, token=token)).deliveries


async def replay_delivery(endpoints: Endpoints, which: str, delivery_id: str) -> int:
    """Attempt a delivery again, or every dead one if the id is empty; return how many. Raises WEBHOOK_NOT_FOUND."""
    async with webhook_service(endpoints) as (stub, token):
        request = messages.ReplayDeliveryRequest(webhook_id=await _id_of(stub, token, which), delivery_id=delivery_id)
        return (await call(stub.ReplayDelivery, request, token=token)).replayed


async def _id_of(stub: WebhookServiceAsyncStub, token: str, which: str) -> str:
    webhooks = (await call(stub.ListWebhooks, messages.ListWebhooksRequest(), token=token)).webhooks
    found = [each.webhook_id for each in webhooks if which in (each.webhook_id, each.name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ServiceError(Reason.WEBHOOK_NOT_FOUND, f"Several owners have a webhook {which}. Give its ID instead.")
    raise ServiceError(Reason.WEBHOOK_NOT_FOUND, f"There is no webhook {which}. `topten webhook list` shows all.")
