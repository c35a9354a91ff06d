import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.errors import Reason, ServiceError
from services.runtime.page_tokens import page_token, read_page_token

TEXT = st.text(st.characters(categories=["L", "N", "P"]), max_size=60)


@given(
    listing=TEXT,
    at=st.integers(-(2**53), 2**53),
    value=st.floats(allow_nan=False, allow_infinity=False),
    item=TEXT,
)
def test_a_position_is_read_back_exactly(listing: str, at: int, value: float, item: str) -> None:
    assert read_page_token(page_token(listing, at, value, item), listing, int, float, str) == (at, value, item)


def test_the_first_page_has_no_token() -> None:
    assert read_page_token("", "flags", int) is None


@given(token=st.text(min_size=1, max_size=80))
def test_malformed_tokens_are_refused(token: str) -> None:
    with pytest.raises(ServiceError) as refusal:
        read_page_token(token, "flags", int, str)
    assert refusal.value.reason in {Reason.INVALID_ARGUMENT, Reason.CURSOR_EXPIRED}


@pytest.mark.parametrize(
    "position", [("1",), (1.5,), (1, "x"), (), ([1],), (True,), (None,), (2**53 + 1,), (2**64 - 1,)]
)
def test_positions_of_other_types_or_out_of_range_are_refused(position: tuple[int, ...]) -> None:
    with pytest.raises(ServiceError) as refusal:
        read_page_token(page_token("flags", *position), "flags", int)
    assert refusal.value.reason == Reason.INVALID_ARGUMENT


def test_a_token_of_another_list_is_refused() -> None:
    with pytest.raises(ServiceError) as refusal:
        read_page_token(page_token("weekly:2026-47", 1), "weekly:2026-48", int)
    assert refusal.value.reason == Reason.CURSOR_EXPIRED
