"""What the tests of the runtime share: an issuer of tokens and a clock that is turned by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from services.runtime.auth.verification import TokenVerifier, open_verifier
from services.runtime.config.settings import AuthConfig
from tests.unit.runtime.issuer import Issuer


class Clock:
    """A clock in seconds that only the test moves."""

    def __init__(self, at: float = 1_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += seconds


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def clean_log() -> Iterator[None]:
    """No test leaves its set-up of logging to the next."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
async def verifier(issuer: Issuer) -> AsyncIterator[TokenVerifier]:
    async with open_verifier(AuthConfig(jwks_url=issuer.jwks_url)) as opened:
        yield opened
