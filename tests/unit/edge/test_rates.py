"""Rates as text, and what a document does."""

from __future__ import annotations

import pytest
from graphql import get_operation_ast, parse

from edge.config import EdgeConfig
from edge.rates.rates import Rate, Rates, operations_of, parse_rates
from services.runtime.settings import ProcessConfig


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("60/m,600/m", Rates(Rate(60, 60), Rate(600, 60))),
        ("5/s,-", Rates(Rate(5, 1), None)),
        ("-,1/h", Rates(None, Rate(1, 3600))),
        ("", None),
    ],
)
def test_rates_are_text_and_back(text: str, rates: Rates | None) -> None:
    assert parse_rates(text) == rates
    assert str(rates or "") == text


@pytest.mark.parametrize("text", ["60/m", "60,60", "0/m,-", "60/d,-", "-1/m,-", "60/m,600/m,6/m", "many,-", "1/m;1/m"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="two rates such as"):
        parse_rates(text)


def test_what_is_not_set_follows_the_environment() -> None:
    assert EdgeConfig().rates["submit"] == parse_rates("6000/m,60000/m")
    production = EdgeConfig(process=ProcessConfig(environment="production"), rate_write=parse_rates("-,-"))
    assert production.rates["submit"] == parse_rates("60/m,1200/m")
    assert production.rates["write"] == Rates(None, None)


@pytest.mark.parametrize(
    ("document", "operations"),
    [
        ("{ me { rank } }", {"query": 1}),
        ("{ a: me { rank } b: me { rank } ...F } fragment F on Query { boards { key } }", {"query": 3}),
        ("mutation { a: login(input: 1) { x } b: login(input: 2) { x } }", {"login": 2}),
        ("mutation { ... on Mutation { register(input: 1) { x } } logout submitQuizAction(input: 1) { x } }",
         {"register": 1, "refresh": 1, "submit": 1}),
        ("mutation { blockUser(input: 1) { x } voidAction(input: 1) { x } }", {"write": 2}),
        ("mutation { deleteMyAccount(password: 1) }", {"login": 1}),
        ("{ me { rank } exportMyData { data } }", {"query": 1, "export": 1}),
        ("{ __typename }", {"query": 1}),
    ],
)  # fmt: skip
def test_every_field_at_the_top_counts(document: str, operations: dict[str, int]) -> None:
    parsed = parse(document)
    node = get_operation_ast(parsed)
    assert node is not None
    assert operations_of(parsed, node) == operations
