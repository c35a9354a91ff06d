"""A process's own token: bought, renewed and kept, over a real socket."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from services.runtime.auth.service_token import ServiceToken
from services.runtime.auth.verification import open_service_token
from services.runtime.config.settings import AuthConfig
from services.runtime.errors import Reason, ServiceError
from tests.deadline import deadline
from tests.unit.runtime.conftest import Clock
from tests.unit.runtime.issuer import Issuer


async def test_a_service_token_is_requested_with_client_credentials(issuer: Issuer) -> None:
    config = AuthConfig(token_url=issuer.token_url, client_id="edge", client_secret="s3cret")
    async with open_service_token(config) as token:
        assert await asyncio.gather(*(token.get() for _ in range(10))) == ["service-1"] * 10
    basic = "Basic " + base64.b64encode(b"edge:s3cret").decode()
    assert issuer.token_requests == [(basic, {"grant_type": "client_credentials"})]


async def test_a_service_token_is_renewed_at_80_percent_of_its_lifetime(issuer: Issuer, clock: Clock) -> None:
    async with ServiceToken(issuer.token_url, "edge", "s", now=clock) as token:
        assert await token.get() == "service-1"
        issuer.token_answer["access_token"] = "service-2"
        clock.advance(79.9)
        assert await token.get() == "service-1"
        clock.advance(0.1)
        assert await token.get() == "service-1", "nobody waits while the old one is good"
        async with deadline("the token is renewed"):
            while await token.get() != "service-2":
                await asyncio.sleep(0.005)
        assert len(issuer.token_requests) == 2


async def test_a_valid_service_token_is_used_while_renewal_fails(issuer: Issuer, clock: Clock) -> None:
    async with ServiceToken(issuer.token_url, "edge", "s", now=clock) as token:
        assert await token.get() == "service-1"
        issuer.status = 500
        clock.advance(99.9)
        assert await token.get() == "service-1"
        clock.advance(0.1)
        with pytest.raises(ServiceError) as caught:
            await token.get()
        assert caught.value.reason is Reason.UNAVAILABLE
        issuer.status = 200
        clock.advance(1)
        assert await token.get() == "service-1"


@pytest.mark.parametrize(
    "answer",
    [{}, {"access_token": "t"}, {"access_token": "", "expires_in": 5}, {"access_token": "t", "expires_in": 0}],
)
async def test_a_response_without_a_token_is_a_failure(issuer: Issuer, clock: Clock, answer: dict[str, Any]) -> None:
    issuer.token_answer = answer
    async with ServiceToken(issuer.token_url, "edge", "s", now=clock) as token:
        with pytest.raises(ServiceError):
            await token.get()
        with pytest.raises(ServiceError):
            await token.get()
    assert len(issuer.token_requests) == 1  # not asked again within the second
