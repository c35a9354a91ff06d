"""Responses that are the same for all callers, and for how long."""

from __future__ import annotations

from collections.abc import Sequence

from topten.leaderboard.v1.leaderboard_pb2 import Frame

from edge.graphql.execution.prepared import Operation
from edge.graphql.execution.response_cache import MAX_BYTES, MAX_ENTRIES, BoardRead, CachedResponse, ResponseCache

OPERATION = Operation(is_mutation=False, rates={"query": 1}, fields=1, readers=frozenset({"player"}))


def response(reads: Sequence[BoardRead], body: bytes = b"{}") -> CachedResponse:
    return CachedResponse(body, OPERATION, reads)


def test_a_cached_response_is_valid_while_its_frames_are_held() -> None:
    held = {"all": Frame(board="all", version=1)}
    cache = ResponseCache(lambda board, limit: held.get(board) if limit <= 3 else None)
    cached = response([BoardRead("all", 2, held["all"])])
    cache.put(b"request", cached)
    assert cache.get(b"request") == cached
    assert cache.get(b"another") is None
    held["all"] = Frame(board="all", version=1)
    assert cache.get(b"request") is None, "another frame, though it is equal"


def test_the_cache_is_bounded_and_evicts_the_least_recently_used() -> None:
    frame = Frame(board="all")
    cache = ResponseCache(lambda _board, _limit: frame)
    reads = [BoardRead("all", 2, frame)]
    for number in range(MAX_ENTRIES + 1):
        cache.put(b"%d" % number, response(reads))
    assert cache.get(b"0") is None
    assert cache.get(b"%d" % MAX_ENTRIES) is not None
    cache.put(b"long", response(reads, b"x" * MAX_BYTES))
    assert cache.get(b"long") is None
