"""Webhooks over the processes of a running system: what a team registers, hears and is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from pymongo import AsyncMongoClient
from topten.webhook.v1 import webhook_service_pb2 as messages
from topten.webhook.v1.webhook_pb2 import Delivery as DeliveryMessage
from topten.webhook.v1.webhook_service_pb2_grpc import WebhookServiceStub

from services.cli.identity.clients import add_client
from services.cli.system.client import GraphqlClient, GraphqlError
from services.cli.system.operator_client import webhook_service
from services.runtime.auth.service_token import ServiceToken
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call
from services.runtime.stores.mongo import Document
from services.score.webhooks.webhook import (
    ENTERED_TOP,
    PLAYER_BLOCKED,
    PLAYER_FLAGGED,
)
from tests.deadline import eventually
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import endpoints, register
from tests.servers import RunningStack, unique
from tests.system.actions.test_player_actions import admin
from tests.system.moderation.test_moderation import BLOCK, Moderator, moderator
from tests.system.webhooks.webhook_receiver import Received, Receiver, receiver

if TYPE_CHECKING:
    from topten.webhook.v1.webhook_service_pb2_grpc import WebhookServiceAsyncStub

__all__ = ["admin", "moderator", "receiver"]


WEBHOOK = "webhook { id owner name url kinds boards top rotatedAt previousSecretValidUntil } secret"
PUT = f"mutation ($input: WebhookInput!) {{ putWebhook(input: $input) {{ {WEBHOOK} }} }}"
ROTATE = f"mutation ($id: ID!) {{ rotateWebhookSecret(webhookId: $id, keepPreviousFor: 60) {{ {WEBHOOK} }} }}"
REPLAY = "mutation ($id: ID!) { replayWebhookDeliveries(webhookId: $id) }"
DELETE = "mutation ($id: ID!) { deleteWebhook(webhookId: $id) }"
LIST = "{ webhooks { id name } }"
DELIVERIES = """query ($id: ID!, $after: String) { webhookDeliveries(webhookId: $id, first: 1, after: $after) {
  next deliveries { id kind state body attempts statusCode lastError nextAttemptAt finishedAt }
} }"""


@asynccontextmanager
async def partner(stack: RunningStack, *scopes: str) -> AsyncIterator[tuple[WebhookServiceAsyncStub, str]]:
    """A service client of its own, with its token."""
    name = unique("partner-")
    secret = await add_client(endpoints(stack), name, scopes, "")
    url = f"{stack.endpoints['identity_http']}/oauth/token"
    async with ServiceToken(url, name, secret) as token, endpoints(stack).channel("score") as channel:
        yield cast("WebhookServiceAsyncStub", WebhookServiceStub(channel)), await token.get()


async def test_a_team_hears_of_blocks_and_of_the_top_of_its_board(
    stack: RunningStack, client: GraphqlClient, moderator: Moderator, receiver: Receiver
) -> None:
    """From the registration to the receiver, over the processes of a running system; then it rotates its secret."""
    quiz_id = unique("hooked-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id))
    board = f"quiz:{quiz_id}"
    async with partner(stack, "webhook:write", "account:read", "leaderboard:read") as (stub, token):
        request = messages.PutWebhookRequest(
            name="points", url=receiver.url, kinds=[PLAYER_BLOCKED, ENTERED_TOP], boards=[board], top=1
        )
        put = await call(stub.PutWebhook, request, token=token)
        assert put.secret.startswith("whsec_")
        assert (await call(stub.PutWebhook, request, token=token)).secret == "", "shown once"
        webhook_id = put.webhook.webhook_id

        stored: AsyncMongoClient[Document] = AsyncMongoClient(stack.endpoints["stores"]["mongo"])

        async def is_watched() -> bool:
            return await stored["topten_score"]["webhook_tops"].find_one({"_id": board}) is not None

        async with stored:
            await eventually(is_watched, "the board is watched")
        player = await register(client)
        await player.submit(quiz_id, [("q1", "a"), ("q2", "a")])

        async def requests(count: int) -> list[Received]:
            return receiver.requests if len(receiver.requests) >= count else []

        async def received(count: int) -> Received:
            return (await eventually(lambda: requests(count), f"{count} deliveries"))[count - 1]

        entered = await received(1)
        assert entered.event["type"] == "rank.entered_top"
        assert entered.event["data"]["userId"] == player.user_id
        assert (entered.event["data"]["board"], entered.event["data"]["rank"]) == (board, 1)
        assert entered.is_signed_by(put.secret)

        keep = messages.RotateSecretRequest(webhook_id=webhook_id)
        keep.keep_previous_for.FromTimedelta(timedelta(hours=1))
        rotated = await call(stub.RotateSecret, keep, token=token)
        await moderator.do(BLOCK, userId=player.user_id, reason="a test")
        blocked = await received(2)
        assert (blocked.event["type"], blocked.event["data"]["userId"]) == ("player.blocked", player.user_id)
        assert blocked.is_signed_by(put.secret), "while it is kept"
        assert blocked.is_signed_by(rotated.secret)

        listing = messages.ListDeliveriesRequest(webhook_id=webhook_id, page_size=1)
        first = await call(stub.ListDeliveries, listing, token=token)
        listing.page_token = first.next_page_token
        second = await call(stub.ListDeliveries, listing, token=token)
        found = [*first.deliveries, *second.deliveries]
        assert [each.kind for each in found] == ["player.blocked", "rank.entered_top"]
        assert second.next_page_token == ""
        assert found[1].body.encode() == entered.body

        replay = messages.ReplayDeliveryRequest(webhook_id=webhook_id, delivery_id=found[1].delivery_id)

        async def is_delivered() -> bool:
            done = messages.ListDeliveriesRequest(webhook_id=webhook_id, state=DeliveryMessage.DELIVERED)
            return len((await call(stub.ListDeliveries, done, token=token)).deliveries) == 2

        await eventually(is_delivered, "both are recorded as delivered")
        assert (await call(stub.ReplayDelivery, replay, token=token)).replayed == 1
        again = await received(3)
        assert (again.headers["webhook-id"], again.body) == (entered.headers["webhook-id"], entered.body)

        async with partner(stack, "webhook:write") as (_, other):
            refusals: list[tuple[Any, Any]] = [
                (stub.ListDeliveries, messages.ListDeliveriesRequest(webhook_id=webhook_id)),
                (stub.DeleteWebhook, messages.DeleteWebhookRequest(webhook_id=webhook_id)),
                (stub.RotateSecret, messages.RotateSecretRequest(webhook_id=webhook_id)),
                (stub.ReplayDelivery, messages.ReplayDeliveryRequest(webhook_id=webhook_id)),
            ]
            for method, asked in refusals:
                with pytest.raises(ServiceError) as refused:
                    await call(method, asked, token=other)
                assert refused.value.reason is Reason.WEBHOOK_NOT_FOUND
            assert not (await call(stub.ListWebhooks, messages.ListWebhooksRequest(), token=other)).webhooks
        async with webhook_service(endpoints(stack)) as (_, admin):
            listed = await call(stub.ListWebhooks, messages.ListWebhooksRequest(), token=admin)
        assert webhook_id in [each.webhook_id for each in listed.webhooks]
        await call(stub.DeleteWebhook, messages.DeleteWebhookRequest(webhook_id=webhook_id), token=token)
        assert not (await call(stub.ListWebhooks, messages.ListWebhooksRequest(), token=token)).webhooks
    logged = (stack.data / "logs" / "score.log").read_text()
    assert not any(secret in logged for secret in (put.secret, rotated.secret))


GOOD: dict[str, Any] = {"name": "points", "url": "https://hooks.example.com/", "kinds": [PLAYER_BLOCKED]}


@pytest.mark.parametrize(
    ("change", "reason", "field_name"),
    [
        ({"url": "http://hooks.example.com/"}, Reason.INVALID_ARGUMENT, "url"),
        ({"url": "https://10.0.0.1/"}, Reason.INVALID_ARGUMENT, "url"),
        ({"name": "Points"}, Reason.INVALID_ARGUMENT, "name"),
        ({"kinds": ["player.born"]}, Reason.INVALID_ARGUMENT, "kinds[0]"),
        ({"kinds": [ENTERED_TOP]}, Reason.INVALID_ARGUMENT, "boards"),
        ({"boards": ["weekly:2026-47"]}, Reason.INVALID_ARGUMENT, "boards"),
        ({"boards": ["custom:no-such-board"]}, Reason.INVALID_ARGUMENT, "boards"),
        ({"kinds": [PLAYER_FLAGGED]}, Reason.PERMISSION_DENIED, ""),
    ],
)
async def test_a_registration_that_cannot_work_is_refused(
    stack: RunningStack, change: dict[str, Any], reason: Reason, field_name: str
) -> None:
    async with partner(stack, "webhook:write", "account:read", "leaderboard:read") as (stub, token):
        with pytest.raises(ServiceError) as refused:
            await call(stub.PutWebhook, messages.PutWebhookRequest(**{**GOOD, **change}), token=token)
    assert refused.value.reason is reason, refused.value.message
    assert [name for name, _ in refused.value.violations] == ([field_name] if field_name else [])


async def test_an_owner_has_at_most_twenty_webhooks(stack: RunningStack) -> None:
    async with partner(stack, "webhook:write", "account:read") as (stub, token):
        for number in range(20):
            await call(stub.PutWebhook, messages.PutWebhookRequest(**{**GOOD, "name": f"n{number}"}), token=token)
        with pytest.raises(ServiceError) as refused:
            await call(stub.PutWebhook, messages.PutWebhookRequest(**GOOD), token=token)
        assert refused.value.reason is Reason.LIMIT_REACHED
        assert not (
            await call(stub.PutWebhook, messages.PutWebhookRequest(**{**GOOD, "name": "n7"}), token=token)
        ).secret
        listed = await call(stub.ListWebhooks, messages.ListWebhooksRequest(), token=token)
        for each in listed.webhooks:
            await call(stub.DeleteWebhook, messages.DeleteWebhookRequest(webhook_id=each.webhook_id), token=token)


async def test_an_admin_manages_webhooks_over_graphql(
    client: GraphqlClient, admin: str, moderator: Moderator, receiver: Receiver
) -> None:
    name = unique("admin-")[:32]
    stated = {"name": name, "url": receiver.url, "kinds": ["PLAYER_BLOCKED"]}
    put = (await client.execute(PUT, {"input": stated}, admin))["putWebhook"]
    webhook_id = put["webhook"]["id"]
    assert put["secret"].startswith("whsec_")
    assert put["webhook"]["kinds"] == ["PLAYER_BLOCKED"]
    changed = {**stated, "kinds": ["PLAYER_BLOCKED", "RANK_PASSED"], "boards": ["weekly"], "top": 3}
    again = (await client.execute(PUT, {"input": changed}, admin))["putWebhook"]
    assert (again["secret"], again["webhook"]["id"], again["webhook"]["top"]) == (None, webhook_id, 3)
    assert name in {each["name"] for each in (await client.execute(LIST, {}, admin))["webhooks"]}

    for _ in range(2):
        await moderator.do(BLOCK, userId=(await register(client)).user_id, reason="a test")

    async def delivered() -> list[Received]:
        return receiver.requests if len(receiver.requests) >= 2 else []

    assert all(each.is_signed_by(put["secret"]) for each in await eventually(delivered, "both blocks are told"))

    async def page(after: str | None) -> dict[str, Any]:
        found: dict[str, Any] = await client.execute(DELIVERIES, {"id": webhook_id, "after": after}, admin)
        return dict(found["webhookDeliveries"])

    first = await page(None)
    last = await page(first["next"])
    ids = {each["id"] for each in (*first["deliveries"], *last["deliveries"])}
    assert (len(ids), last["next"]) == (2, None)
    assert {each["kind"] for each in (*first["deliveries"], *last["deliveries"])} == {"PLAYER_BLOCKED"}
    assert (await client.execute(REPLAY, {"id": webhook_id}, admin))["replayWebhookDeliveries"] == 0, "none is dead"
    rotated = (await client.execute(ROTATE, {"id": webhook_id}, admin))["rotateWebhookSecret"]
    assert rotated["secret"] not in (None, put["secret"])
    assert rotated["webhook"]["previousSecretValidUntil"] > rotated["webhook"]["rotatedAt"]
    assert (await client.execute(DELETE, {"id": webhook_id}, admin))["deleteWebhook"] is True
    with pytest.raises(GraphqlError) as gone:
        await page(None)
    assert gone.value.reason == "WEBHOOK_NOT_FOUND"
