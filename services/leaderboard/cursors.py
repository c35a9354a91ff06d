"""Page tokens: where a page of a board begins, as text that only this module reads. Pure.

A token names the board with its period, and the value and id of the entry that the page begins behind: whoever did not
move is neither repeated nor skipped, however the others did.
"""

from __future__ import annotations

import base64
import binascii
import math

import orjson

from services.leaderboard.ranking import Member
from services.runtime.boards import Board
from services.runtime.errors import Reason, ServiceError


def cursor_of(board: Board, member: Member) -> str:
    """The token for what follows `member`."""
    user_id, value = member
    return base64.urlsafe_b64encode(orjson.dumps([board.text, value.hex(), user_id])).decode().rstrip("=")


def member_of(board: Board, cursor: str) -> Member:
    """The member behind whom the page begins.

    Raises INVALID_ARGUMENT for what is no token, and CURSOR_EXPIRED for one of a board that is not this one.
    """
    try:
        text, value, user_id = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
        if not isinstance(text, str) or not isinstance(user_id, str):
            raise TypeError("not what a token holds")
        found = (user_id, float.fromhex(value))
        if not math.isfinite(found[1]) or not user_id.isprintable():
            raise ValueError("no value of a member")
    except (ValueError, TypeError, OverflowError, binascii.Error):
        raise ServiceError(Reason.INVALID_ARGUMENT, "the page token is none of this service") from None
    if text != board.text:
        raise ServiceError(Reason.CURSOR_EXPIRED, f"the page token belongs to {text[:100]}, not to {board.text}")
    return found
