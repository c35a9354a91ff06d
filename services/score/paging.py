"""Tokens of pages that go from the newest to the oldest, by time and id."""

from __future__ import annotations

import base64
import binascii

from services.runtime.errors import Reason, ServiceError

Place = tuple[int, str]
"""Time in milliseconds and id of the last item of a page."""


def token_of(place: Place) -> str:
    """The token of the page behind `place`."""
    at, item_id = place
    return base64.urlsafe_b64encode(f"{at}/{item_id}".encode()).decode()


def place_of(token: str) -> Place | None:
    """The place behind which a page begins; None for the first. Raises INVALID_ARGUMENT for a token that is none."""
    if not token:
        return None
    try:
        at, slash, item_id = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode().partition("/")
        if not slash or not -(2**53) < int(at) < 2**53:
            raise ValueError
        return int(at), item_id
    except (binascii.Error, ValueError):
        violation = ("page_token", "is not a token of this list")
        raise ServiceError(Reason.INVALID_ARGUMENT, "The page token is not valid.", violations=[violation]) from None
