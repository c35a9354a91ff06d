"""Page tokens: the position at which the next page of a list starts, opaque to clients.

A token names its list, so that it cannot be used on another one, and the position of the last item of a page: items that
did not move are neither repeated nor skipped, even if others move. Servers make tokens; the edge forwards them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

import orjson

from services.runtime.errors import Reason, ServiceError, invalid

MAX_LENGTH = 1024
# Beyond it, a number is neither a time nor exact in every language, and some stores refuse it.
_MAX_NUMBER = 2**53


def list_of(listing: str, subject: str) -> str:
    """Return the name of a list that is there for each subject, such as each player: with eight characters for that one.

    Short, because contracts bound tokens. 32 bits tell that a client mixes lists up; they keep no secret.
    """
    return f"{listing} {hashlib.sha256(subject.encode()).hexdigest()[:8]}"


def page_token(listing: str, *position: str | float) -> str:
    """Return the token of the page that follows `position` in the list `listing`. Floats keep their exact value."""
    return base64.urlsafe_b64encode(orjson.dumps([listing, *position])).decode().rstrip("=")


def read_page_token(token: str, listing: str, *kinds: type) -> tuple[Any, ...] | None:
    """Return the position in a token, one value of each of `kinds`; None for the empty token of the first page.

    Raises INVALID_ARGUMENT if the token is malformed, and CURSOR_EXPIRED if it belongs to another list.
    """
    if not token:
        return None
    try:
        if len(token) > MAX_LENGTH:
            raise ValueError("too long")
        padded = token + "=" * (-len(token) % 4)
        found, *position = orjson.loads(base64.b64decode(padded, b"-_", validate=True))
        if not isinstance(found, str) or [type(value) for value in position] != list(kinds):
            raise TypeError("unexpected content")
        if not all(value.isprintable() for value in position if isinstance(value, str)):
            raise ValueError("unprintable text")
        if not all(abs(value) <= _MAX_NUMBER for value in position if isinstance(value, int)):
            raise ValueError("number out of range")
    except (ValueError, TypeError, binascii.Error):
        raise invalid_page_token() from None
    if found != listing:
        raise ServiceError(
            Reason.CURSOR_EXPIRED,
            f"The page token belongs to {found[:100]!r}, not to {listing!r}. Start again without it.",
        )
    return tuple(position)


def invalid_page_token() -> ServiceError:
    """Return the refusal of a malformed token."""
    return invalid("page_token", "is not a token of this list", "Invalid page token.")
