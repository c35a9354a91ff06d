"""Which metrics a query asks for, as Prometheus' own grammar reads it."""

from __future__ import annotations

from typing import Any

import promql_parser


def metrics_in(query: str) -> set[str]:
    """The names of the metrics in a query; raises ValueError if it is none."""
    found: set[str] = set()

    def look(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            assert node.name, f"which metric? {query}"
            found.add(node.name)
        return True

    promql_parser.walk(promql_parser.parse(query), look)
    return found
