"""The Accept header: quality, precedence, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.http.accept import preferred_type

JSON, GRAPHQL = "application/json", "application/graphql-response+json"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (GRAPHQL, GRAPHQL),
        (f"{JSON}, {GRAPHQL}", JSON),
        (f"{GRAPHQL}, {JSON}", GRAPHQL),
        (f"{GRAPHQL}, {JSON};q=0.9", GRAPHQL),
        (f"{GRAPHQL};q=0.5, {JSON};q=0.9", JSON),
        (f"{GRAPHQL}; Q=0.5 , */*", JSON),
        (f"{GRAPHQL};charset=utf-8;q=1.0, {JSON};q=0.999", GRAPHQL),
        (f"{JSON};q=0, {GRAPHQL}", GRAPHQL),
        (f"{JSON};q=0, */*", GRAPHQL),
        (f"{JSON};q=0, application/*;q=0.1", GRAPHQL),
        (f"*/*;q=0, {JSON};q=0.001", JSON),
        ("text/html, application/xml;q=0.9, */*;q=0.8", JSON),
        (f"{JSON};q=0", None),
        (f"{JSON};q=0.000, {GRAPHQL};q=0", None),
        ("*/*;q=0", None),
        ("text/html", None),
        ("application/jsonx", None),
    ],
)
def test_the_best_accepted_type_is_chosen(accept: str, expected: str | None) -> None:
    assert preferred_type(accept, (JSON, GRAPHQL), default=JSON) == expected


@given(st.text(max_size=200))
def test_any_header_is_read(accept: str) -> None:
    assert preferred_type(accept, (JSON, GRAPHQL), default=JSON) in (JSON, GRAPHQL, None)


@given(st.permutations([f"{JSON};q=0", "*/*", "text/html;q=0.4", "application/*;q=0.3"]))
def test_a_refused_type_is_never_sent(parts: list[str]) -> None:
    assert preferred_type(",".join(parts), (JSON, GRAPHQL), default=JSON) == GRAPHQL
