"""The URL of Redis: one server, a cluster, or the master that sentinels name."""

from __future__ import annotations

import pytest

from services.runtime.stores.redis_url import RedisAddress, parse_redis_url, redis_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://h:1/2", RedisAddress("server", (("h", 1),), "redis://h:1/2")),
        ("rediss://u:p%40@h", RedisAddress("server", (("h", 6379),), "rediss://u:p%40@h:6379/0")),
        (
            "redis+cluster://:p@a:1,b,[::1]:3",
            RedisAddress("cluster", (("a", 1), ("b", 6379), ("::1", 3)), "redis://:p@a:1/0"),
        ),
        ("rediss+cluster://a:1/0", RedisAddress("cluster", (("a", 1),), "rediss://a:1/0")),
        (
            "redis+sentinel://:p@a,b:5/main/3",
            RedisAddress("sentinel", (("a", 26379), ("b", 5)), "redis://:p@a:26379/3", "main"),
        ),
        (
            "rediss+sentinel://a/main?sentinel_password=s&ssl_ca_certs=/ca",
            RedisAddress("sentinel", (("a", 26379),), "rediss://a:26379/0?ssl_ca_certs=%2Fca", "main", "", "s"),
        ),
    ],
)
def test_redis_urls_are_parsed(text: str, expected: RedisAddress) -> None:
    assert parse_redis_url(text) == expected
    assert redis_url(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://h:1",
        "redis+other://h:1",
        "redis://h:1,i:2",
        "redis://h:1/db",
        "redis://",
        "redis://h:99999",
        "redis+cluster://h:1/1",
        "redis+cluster://h:1,,i:2",
        "redis+sentinel://h:1",
        "redis+sentinel://h:1/main/x",
        "redis://h:1?sentinel_password=s",
        "redis://h:1?nothing",
    ],
)
def test_malformed_redis_urls_are_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(?!.*h:1).*$"):
        parse_redis_url(text)
