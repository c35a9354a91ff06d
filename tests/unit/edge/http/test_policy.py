"""The Content-Security-Policy: what a page may load, and who may frame it."""

from __future__ import annotations

from edge.http.policy import policy_of


def test_pictures_come_from_this_origin_and_the_hosts_that_the_operator_allows() -> None:
    assert "; img-src 'self'; " in policy_of()
    allowed = policy_of(image_hosts=("img.example.org", "cdn.example"))
    assert "; img-src 'self' https://img.example.org:* https://cdn.example:*; " in allowed
    assert "frame-ancestors 'none'" in allowed


def test_only_the_named_origins_may_frame_a_page() -> None:
    assert "frame-ancestors https://a.example https://b.example;" in policy_of(
        ("https://a.example", "https://b.example")
    )
