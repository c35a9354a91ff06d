"""The metrics that a query reads, by Prometheus' own grammar."""

from __future__ import annotations

from typing import Any

import promql_parser


def metrics_in(query: str) -> set[str]:
    """Return the names of the metrics in a query; raises ValueError if it is invalid."""
    names: set[str] = set()

    def look(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            assert node.name, f"a selector without a metric: {query}"
            names.add(node.name)
        return True

    promql_parser.walk(promql_parser.parse(query), look)
    return names
