"""How many connections to the stores this process has, as a metric.

Each open client says how to count its own; it is asked when the metric is read, so that counting costs a command nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from pymongo.monitoring import ConnectionPoolListener


class Connections(NamedTuple):
    """How many are open and wait for work, and how many are at work."""

    idle: int
    used: int


_clients: list[tuple[str, Callable[[], Connections]]] = []


@contextmanager
def counted(store: str, count: Callable[[], Connections]) -> Iterator[None]:
    """Within the block what `count` returns is part of `topten_store_connections{store}`."""
    client = store, count
    _clients.append(client)
    try:
        yield
    finally:
        _clients.remove(client)


class MongoPools(ConnectionPoolListener):
    """Counts the connections of one client of MongoDB, of which it is an event listener."""

    def __init__(self) -> None:
        self._open = 0
        self._used = 0

    def count(self) -> Connections:
        """As many as there are now; one that is still being opened is idle."""
        return Connections(self._open - self._used, self._used)

    def connection_created(self, _event: object) -> None:
        """One more."""
        self._open += 1

    def connection_closed(self, _event: object) -> None:
        """One less; what was at work has been given back before."""
        self._open -= 1

    def connection_checked_out(self, _event: object) -> None:
        """One begins to work."""
        self._used += 1

    def connection_checked_in(self, _event: object) -> None:
        """One has done its work."""
        self._used -= 1

    def pool_created(self, _event: object) -> None:
        """Nothing is open yet."""

    def pool_ready(self, _event: object) -> None:
        """It may open connections."""

    def pool_cleared(self, _event: object) -> None:
        """Each connection is said to be closed."""

    def pool_closed(self, _event: object) -> None:
        """Likewise."""

    def connection_ready(self, _event: object) -> None:
        """It was counted when it was made."""

    def connection_check_out_started(self, _event: object) -> None:
        """Nothing is at work yet."""

    def connection_check_out_failed(self, _event: object) -> None:
        """Nothing will be."""


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
