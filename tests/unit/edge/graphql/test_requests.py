"""Limits of the variables of a request: how many values, and how deep."""

from __future__ import annotations

from typing import Any

import pytest

from edge.graphql.execution.requests import MAX_VALUE_DEPTH, MAX_VALUES, check_variables
from services.runtime.errors import Reason, ServiceError


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "variables",
    [None, {}, {"a": [1] * (MAX_VALUES - 1)}, {"a": nested(MAX_VALUE_DEPTH - 1)}],
    ids=["none", "empty", "a long list", "deep"],
)
def test_variables_within_the_limits_pass(variables: Any) -> None:
    check_variables(variables)


@pytest.mark.parametrize(
    "variables",
    [
        {"a": [1] * MAX_VALUES},
        {"a": [{"b": n} for n in range(MAX_VALUES // 2)]},
        {f"a{n}": 1 for n in range(MAX_VALUES + 1)},
        {"a": nested(MAX_VALUE_DEPTH)},
        {"a": [nested(MAX_VALUE_DEPTH)]},
    ],
    ids=["a long list", "many objects", "many variables", "deep", "deep in a list"],
)
def test_more_or_deeper_variables_are_refused(variables: Any) -> None:
    with pytest.raises(ServiceError) as refused:
        check_variables(variables)
    assert refused.value.reason is Reason.DOCUMENT_TOO_COSTLY
