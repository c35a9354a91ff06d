"""The settings of the edge."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from edge.config import EdgeConfig
from services.runtime.config.loading import ConfigError, load


def test_proxies_and_origins_are_parsed() -> None:
    environ = {
        "TOPTEN_EDGE_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
        "TOPTEN_EDGE_ALLOWED_ORIGINS": "https://a.example,http://localhost:3000",
    }
    config = load(EdgeConfig, environ)
    assert config.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert config.allowed_origins == ("https://a.example", "http://localhost:3000")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TRUSTED_PROXIES", "everybody"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("ALLOWED_ORIGINS", "*"),
        ("EMBED_ORIGINS", "*"),
        ("EMBED_ORIGINS", "'self'"),
        ("EMBED_ORIGINS", "https://a.example https://b.example"),
        ("EMBED_ORIGINS", "https://a.example;script-src"),
        ("ALLOWED_ORIGINS", "https://*.example"),
        ("ALLOWED_ORIGINS", "https://a.example/page"),
        ("ALLOWED_ORIGINS", "a.example"),
        ("STREAM_HEARTBEAT", "1ms"),
        ("MAX_BODY_BYTES", "100000000"),
    ],
)
def test_an_invalid_setting_fails_the_start(name: str, text: str) -> None:
    with pytest.raises(ConfigError):
        load(EdgeConfig, {f"TOPTEN_EDGE_{name}": text})


@pytest.mark.parametrize(
    ("environ", "secure"),
    [
        ({}, False),
        ({"TOPTEN_ENVIRONMENT": "production"}, True),
        ({"TOPTEN_EDGE_COOKIE_SECURE": "true"}, True),
        ({"TOPTEN_ENVIRONMENT": "production", "TOPTEN_EDGE_COOKIE_SECURE": "false"}, False),
    ],
)
def test_cookies_are_secure_in_production_unless_configured(environ: dict[str, str], secure: bool) -> None:
    assert load(EdgeConfig, environ).secure_cookies is secure
