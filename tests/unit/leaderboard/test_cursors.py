"""Page tokens: bound to their board, and never a fault of the server."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.leaderboard.cursors import cursor_of, member_of
from services.runtime.boards import Board
from services.runtime.errors import Reason, ServiceError

WEEK = Board("weekly", "2026-47")


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1), st.floats(1, 2**31))
def test_a_token_leads_back_to_its_member(user_id: str, value: float) -> None:
    assert member_of(WEEK, cursor_of(WEEK, (user_id, value))) == (user_id, value)


def test_a_token_of_another_board_has_expired() -> None:
    with pytest.raises(ServiceError) as refused:
        member_of(Board("weekly", "2026-48"), cursor_of(WEEK, ("ada", 10.5)))
    assert refused.value.reason is Reason.CURSOR_EXPIRED


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
@pytest.mark.parametrize("board", [WEEK])
def test_whatever_else_is_refused_in_words(board: Board, token: str) -> None:
    with pytest.raises(ServiceError) as refused:
        member_of(board, token)
    assert refused.value.reason in (Reason.INVALID_ARGUMENT, Reason.CURSOR_EXPIRED)


@pytest.mark.parametrize(
    "content", ['["weekly:2026-47","inf","a"]', '["weekly:2026-47","0x1p0",1]', '["a","0x1p0"]', "{}"]
)
def test_a_token_that_was_made_by_hand_is_refused(content: str) -> None:
    with pytest.raises(ServiceError) as refused:
        member_of(WEEK, base64.urlsafe_b64encode(content.encode()).decode())
    assert refused.value.reason is Reason.INVALID_ARGUMENT
