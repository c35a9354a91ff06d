"""The page of metrics: committed, complete, and every label one whose values are few."""

from __future__ import annotations

from pathlib import Path

from tests.contract.metrics import page, registered

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
# A label that can have only so many values, whoever calls and whatever is played.
BOUNDED = {
    "at",  # graphql, grpc
    "by",  # who blocked: a rule or a moderator
    "event",  # new, again
    "grpc_code",
    "grpc_method",
    "grpc_service",
    "grpc_type",
    "http_request_method",  # those that a route has; any other is "other"
    "http_response_status_code",
    "http_route",  # as declared, not as requested
    "operation",  # a kind of request that is limited
    "outcome",
    "partition",  # as many as the operator set
    "python",
    "reason",
    "result",
    "rule",
    "service",
    "state",
    "store",
    "upstream",
    "version",
}


def test_the_committed_page_is_what_the_processes_register() -> None:
    assert PAGE.read_text() == page(), "make it anew: python -m tests.contract.metrics > docs/metrics.md"


def test_every_label_is_known_to_have_few_values() -> None:
    assert {label for family in registered() for label in family.labels} <= BOUNDED
