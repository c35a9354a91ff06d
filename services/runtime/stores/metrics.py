"""The number of connections of this process to each store, as a metric.

Each client provides a function that counts its connections when the metric is read, so that commands cost nothing extra.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class Connections(NamedTuple):
    """The numbers of idle and used connections."""

    idle: int
    used: int


_clients: list[tuple[str, Callable[[], Connections]]] = []


@contextmanager
def counted(store: str, count: Callable[[], Connections]) -> Iterator[None]:
    """Include the result of `count` in `topten_store_connections{store}` while the block runs."""
    client = store, count
    _clients.append(client)
    try:
        yield
    finally:
        _clients.remove(client)


class _Collector(Collector):
    def collect(self) -> Iterator[GaugeMetricFamily]:
        gauge = GaugeMetricFamily(
            "topten_store_connections",
            "Open connections to a store, idle or used",
            labels=["store", "state"],
        )
        totals: dict[tuple[str, str], int] = {}
        for store, count in _clients:
            for state, number in count()._asdict().items():
                totals[store, state] = totals.get((store, state), 0) + number
        for labels, number in totals.items():
            gauge.add_metric(labels, number)
        yield gauge


REGISTRY.register(_Collector())
