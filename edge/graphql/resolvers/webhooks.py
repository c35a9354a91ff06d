"""Webhooks of other systems and their deliveries, for admins. Services manage their own over gRPC."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import Annotated, Self

import strawberry
from topten.webhook.v1 import webhook_pb2
from topten.webhook.v1 import webhook_service_pb2 as messages

from edge.graphql.execution.context import Info
from edge.graphql.fields import field, rpc
from edge.graphql.resolvers.paging import ENTRIES, After, UpTo100
from edge.times import time_of

TYPICAL_WEBHOOKS = 20
WhichWebhook = Annotated[strawberry.ID, strawberry.argument(description="The ID of the webhook.")]


@strawberry.enum(description="What a webhook is told of.")
class WebhookKind(Enum):
    BOARD_CLOSED = "board.closed"
    RANK_ENTERED_TOP = "rank.entered_top"
    RANK_PASSED = "rank.passed"
    PLAYER_FLAGGED = "player.flagged"
    PLAYER_BLOCKED = "player.blocked"


@strawberry.enum(
    description="A delivery is WAITING for an attempt, DELIVERED, or DEAD: no attempt succeeded within a day."
)
class WebhookDeliveryState(Enum):
    WAITING = webhook_pb2.Delivery.WAITING
    DELIVERED = webhook_pb2.Delivery.DELIVERED
    DEAD = webhook_pb2.Delivery.DEAD


@strawberry.type(description="An address of another system that is told what happens here.")
class Webhook:
    id: strawberry.ID
    owner: str = strawberry.field(description="Who registered it: `service:<client>`, or the user ID of an admin.")
    name: str
    url: str
    kinds: list[WebhookKind]
    boards: list[str] = strawberry.field(description="The boards without periods; empty is every board.")
    top: int = strawberry.field(description="How many ranks are the top, for RANK_ENTERED_TOP and RANK_PASSED.")
    created_at: datetime
    rotated_at: datetime | None
    previous_secret_valid_until: datetime | None

    @classmethod
    def from_proto(cls, webhook: webhook_pb2.Webhook) -> Self:
        until = webhook.previous_secret_valid_until
        return cls(
            id=strawberry.ID(webhook.webhook_id),
            owner=webhook.owner,
            name=webhook.name,
            url=webhook.url,
            kinds=[WebhookKind(kind) for kind in webhook.kinds],
            boards=list(webhook.boards),
            top=webhook.top,
            created_at=time_of(webhook.created_at),
            rotated_at=time_of(webhook.rotated_at) if webhook.HasField("rotated_at") else None,
            previous_secret_valid_until=time_of(until) if webhook.HasField("previous_secret_valid_until") else None,
        )


@strawberry.type(description="A webhook, and its secret where that is new.")
class WebhookChange:
    webhook: Webhook
    secret: str | None = strawberry.field(
        description="The secret of a new webhook, or the new one. It cannot be read again. Null if it stays."
    )


@strawberry.type(description="One event on its way to one webhook.")
class WebhookDelivery:
    id: strawberry.ID = strawberry.field(description="The header `webhook-id` of every attempt.")
    kind: WebhookKind
    state: WebhookDeliveryState
    body: str = strawberry.field(description="A JSON object.")
    created_at: datetime
    attempts: int
    status_code: int | None = strawberry.field(description="Of the last attempt; null without a response.")
    last_error: str | None = strawberry.field(description="Why the last attempt failed; null if it did not.")
    next_attempt_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def from_proto(cls, delivery: webhook_pb2.Delivery) -> Self:
        return cls(
            id=strawberry.ID(delivery.delivery_id),
            kind=WebhookKind(delivery.kind),
            state=WebhookDeliveryState(delivery.state),
            body=delivery.body,
            created_at=time_of(delivery.created_at),
            attempts=delivery.attempts,
            status_code=delivery.status_code or None,
            last_error=delivery.last_error or None,
            next_attempt_at=time_of(delivery.next_attempt_at) if delivery.HasField("next_attempt_at") else None,
            finished_at=time_of(delivery.finished_at) if delivery.HasField("finished_at") else None,
        )


@strawberry.type(description="A page of deliveries, newest first.")
class WebhookDeliveryPage:
    deliveries: list[WebhookDelivery] = field(size=1)  # as many as the page has
    next: str | None = strawberry.field(description="Pass it as `after` to get the next page; null on the last page.")


@strawberry.input(
    description="A webhook. The caller's one of this name is changed if there is one, and keeps its secret."
)
class WebhookInput:
    name: str = strawberry.field(
        description="A lower-case letter, then up to 62 lower-case letters, digits and hyphens."
    )
    url: str = strawberry.field(description="https, on a public address.")
    kinds: list[WebhookKind]
    boards: list[str] = strawberry.field(
        default_factory=list,
        description="Up to 10 boards without periods, such as `weekly` or `custom:sprint`; required for RANK_ENTERED_TOP and "
        "RANK_PASSED, else empty is every board.",
    )
    top: int | None = strawberry.field(default=None, description="1 to 10, by default 10.")


@strawberry.type
class WebhookQuery:
    @field(
        access=rpc("webhook.ListWebhooks"),
        cost=30,
        size=TYPICAL_WEBHOOKS,
        description="The webhooks of all owners, by owner and name. For admins.",
    )
    async def webhooks(self, info: Info) -> list[Webhook] | None:
        context = info.context
        response = await context.call(context.upstreams.webhook.ListWebhooks, messages.ListWebhooksRequest())
        return [Webhook.from_proto(webhook) for webhook in response.webhooks]

    @field(
        access=rpc("webhook.ListDeliveries"),
        cost=30,
        size=ENTRIES,
        description="What was sent to a webhook in the last 30 days, or is still to be sent. For admins.",
    )
    async def webhook_deliveries(
        self,
        info: Info,
        webhook_id: WhichWebhook,
        state: Annotated[
            WebhookDeliveryState | None, strawberry.argument(description="Only those in this state.")
        ] = None,
        first: UpTo100 = 20,
        after: After = None,
    ) -> WebhookDeliveryPage | None:
        context = info.context
        request = messages.ListDeliveriesRequest(
            webhook_id=webhook_id,
            state=webhook_pb2.Delivery.STATE_UNSPECIFIED if state is None else state.value,
            page_size=first,
            page_token=after or "",
        )
        page = await context.call(context.upstreams.webhook.ListDeliveries, request)
        return WebhookDeliveryPage(
            deliveries=[WebhookDelivery.from_proto(delivery) for delivery in page.deliveries],
            next=page.next_page_token or None,
        )


@strawberry.type
class WebhookMutation:
    @field(
        access=rpc("webhook.PutWebhook"),
        cost=200,
        rate="write",
        description="Registers a webhook, or changes the caller's one of this name. For admins.",
    )
    async def put_webhook(self, info: Info, input: WebhookInput) -> WebhookChange | None:
        context = info.context
        request = messages.PutWebhookRequest(
            name=input.name,
            url=input.url,
            kinds=[kind.value for kind in input.kinds],
            boards=input.boards,
            top=input.top or 0,
        )
        response = await context.call(context.upstreams.webhook.PutWebhook, request)
        return WebhookChange(webhook=Webhook.from_proto(response.webhook), secret=response.secret or None)

    @field(
        access=rpc("webhook.DeleteWebhook"),
        cost=200,
        rate="write",
        description="Deletes a webhook with its deliveries. For admins.",
    )
    async def delete_webhook(self, info: Info, webhook_id: WhichWebhook) -> bool | None:
        context = info.context
        request = messages.DeleteWebhookRequest(webhook_id=webhook_id)
        await context.call(context.upstreams.webhook.DeleteWebhook, request)
        return True

    @field(
        access=rpc("webhook.RotateSecret"),
        cost=200,
        rate="write",
        description="Replaces the secret of a webhook. For admins.",
    )
    async def rotate_webhook_secret(
        self,
        info: Info,
        webhook_id: WhichWebhook,
        keep_previous_for: Annotated[
            int,
            strawberry.argument(description="Seconds for which the previous secret signs as well, up to 604 800."),
        ] = 86_400,
    ) -> WebhookChange | None:
        context = info.context
        request = messages.RotateSecretRequest(webhook_id=webhook_id)
        request.keep_previous_for.FromTimedelta(timedelta(seconds=keep_previous_for))
        response = await context.call(context.upstreams.webhook.RotateSecret, request)
        return WebhookChange(webhook=Webhook.from_proto(response.webhook), secret=response.secret)

    @field(
        access=rpc("webhook.ReplayDelivery"),
        cost=200,
        rate="write",
        description="Attempts a delivery again that was delivered or is DEAD, or every DEAD one of the webhook; returns how "
        "many. For admins.",
    )
    async def replay_webhook_deliveries(
        self,
        info: Info,
        webhook_id: WhichWebhook,
        delivery_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="Every DEAD delivery by default.")
        ] = None,
    ) -> int | None:
        context = info.context
        request = messages.ReplayDeliveryRequest(webhook_id=webhook_id, delivery_id=delivery_id or "")
        return (await context.call(context.upstreams.webhook.ReplayDelivery, request)).replayed
