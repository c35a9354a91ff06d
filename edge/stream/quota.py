"""The stream quota: each client's share of the streams and boards of this process.

A client is a player and, because anybody may register many, a network (`network_of` in `edge.http.callers.peer`). Holders of
a board token, who have no user id, are counted by network alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from edge.rates.limiter import rate_limited
from services.runtime.errors import Reason, ServiceError


class StreamQuota:
    """Counts open streams, and the boards that each network watches. Use from one event loop."""

    def __init__(self, *, per_player: int, per_network: int, boards_per_network: int, retry_after: timedelta) -> None:
        self._per_player = per_player
        self._per_network = per_network
        self._boards_per_network = boards_per_network
        self._retry_after = retry_after
        self._players: Counter[str] = Counter()
        self._networks: dict[str, Counter[str]] = {}
        """Streams of each network by board."""

    @contextmanager
    def stream(self, user_id: str, network: str, board: str) -> Iterator[None]:
        """Count one stream on a board. Raises RATE_LIMITED at a limit of the player or the network."""
        boards = self._networks.get(network, Counter())
        if user_id and self._players[user_id] >= self._per_player:
            raise self._limited(f"{self._per_player} open streams per player")
        if boards.total() >= self._per_network:
            raise self._limited(f"{self._per_network} open streams per address")
        if board not in boards and len(boards) >= self._boards_per_network:
            raise self._limited(f"{self._boards_per_network} boards per address")
        self._players[user_id] += 1
        boards = self._networks.setdefault(network, boards)
        boards[board] += 1
        try:
            yield
        finally:
            _release(self._players, user_id)
            _release(boards, board)
            if not boards:
                del self._networks[network]

    def _limited(self, limit: str) -> ServiceError:
        rate_limited.labels("stream").inc()
        return ServiceError(
            Reason.RATE_LIMITED,
            f"Stream limit reached: {limit}. Close one and try again.",
            retry_after=self._retry_after,
        )


def _release(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
