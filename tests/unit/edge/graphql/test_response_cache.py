"""Responses that are the same for all callers, and for how long."""

from __future__ import annotations

from topten.leaderboard.v1.leaderboard_pb2 import Frame

from edge.graphql.execution.response_cache import MAX_BYTES, MAX_ENTRIES, BoardRead, Key, ResponseCache, key_of

DIGEST = "0" * 64


def key(number: int = 0) -> Key:
    return DIGEST, str(number), b"{}"


def test_a_cached_response_is_valid_while_its_frames_are_held() -> None:
    held = {"all": Frame(board="all", version=1)}
    cache = ResponseCache(lambda board, limit: held.get(board) if limit <= 3 else None)
    cache.put(key(), b"{}", [BoardRead("all", 2, held["all"])])
    assert cache.get(key()) == b"{}"
    assert cache.get(key(1)) is None
    held["all"] = Frame(board="all", version=1)
    assert cache.get(key()) is None, "another frame, though it is equal"


def test_the_order_of_variables_makes_no_other_key() -> None:
    assert key_of(DIGEST, None, {"b": 1, "a": 2}) == key_of(DIGEST, None, {"a": 2, "b": 1})
    assert key_of(DIGEST, None, {"a": 1}) != key_of(DIGEST, None, {"a": 2})
    assert key_of(DIGEST, None, None) == key_of(DIGEST, None, {})


def test_the_cache_is_bounded_and_evicts_the_least_recently_used() -> None:
    frame = Frame(board="all")
    cache = ResponseCache(lambda _board, _limit: frame)
    reads = [BoardRead("all", 2, frame)]
    for number in range(MAX_ENTRIES + 1):
        cache.put(key(number), b"{}", reads)
    assert cache.get(key(0)) is None
    assert cache.get(key(MAX_ENTRIES)) == b"{}"
    cache.put(key(-1), b"x" * MAX_BYTES, reads)
    assert cache.get(key(-1)) is None, "too long"


def test_variables_nested_too_deep_have_no_key() -> None:
    deep: dict[str, object] = {}
    for _ in range(400):
        deep = {"x": deep}
    assert key_of(DIGEST, None, deep) is None
