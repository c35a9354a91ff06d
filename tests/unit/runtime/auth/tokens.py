"""Tokens that are not believed."""

from __future__ import annotations

from typing import Any

import pytest

from services.runtime.auth.verification import MESSAGES, TokenVerifier
from services.runtime.errors import Reason, ServiceError


async def refused(verifier: TokenVerifier, token: str, kind: Any = "access", message: str = "") -> None:
    with pytest.raises(ServiceError) as caught:
        await verifier.verify(token, kind)
    assert caught.value.reason is Reason.UNAUTHENTICATED
    assert caught.value.message in ([message] if message else MESSAGES)
