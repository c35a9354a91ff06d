"""The page of metrics: committed, complete, and every label one whose values are few."""

from __future__ import annotations

from pathlib import Path

from tests.contract.metrics import page, registered

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
# Labels with a bounded number of values, whatever is called and played.
BOUNDED = {
    "at",  # graphql, grpc
    "by",  # who blocked: a rule or a moderator
    "event",  # new, again; of attempts, started and time_up
    "grpc_code",
    "grpc_method",
    "grpc_service",
    "grpc_type",
    "http_request_method",  # those that a route has; any other is "other"
    "http_response_status_code",
    "http_route",  # as declared, not as requested
    "kind",
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


def test_the_metrics_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "make gen"


def test_every_label_is_known_to_have_few_values() -> None:
    assert {label for family in registered() for label in family.labels} <= BOUNDED
