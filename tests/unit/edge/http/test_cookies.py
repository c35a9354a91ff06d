"""Cookies: their content, their scope, which requests they count for; and the address of a client behind proxies."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_network

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from topten.identity.v1.identity_pb2 import Session

from edge.http.callers.cookies import CookieSession, wants_cookies
from edge.http.callers.peer import client_address, is_same_origin
from services.runtime.errors import Reason, ServiceError

NOW = datetime(2026, 11, 23, 20, tzinfo=UTC)


def request(method: str = "POST", **headers: str) -> web.Request:
    return make_mocked_request(method, "/graphql", {name.replace("_", "-"): value for name, value in headers.items()})


def signed_in() -> CookieSession:
    session = Session(access_token="A", refresh_token="R", stream_token="S", expires_in=600)
    session.session_expires_at.FromSeconds(int(NOW.timestamp()) + 86_400)
    cookies = CookieSession()
    cookies.open(session, NOW)
    return cookies


def written(cookies: CookieSession, *, secure: bool = False) -> dict[str, dict[str, str]]:
    response = web.Response()
    cookies.apply(response, secure=secure)
    return {
        name: {"value": morsel.value, **{key: str(value) for key, value in morsel.items() if value}}
        for name, morsel in response.cookies.items()
    }


def test_signing_in_sets_cookies_each_for_its_own_path() -> None:
    common = {"httponly": "True", "samesite": "Strict"}
    assert written(signed_in()) == {
        "topten_access": {"value": "A", "path": "/graphql", "max-age": "600", **common},
        "topten_refresh": {"value": "R", "path": "/graphql", "max-age": "86400", **common},
        "topten_stream": {"value": "S", "path": "/api/v1/leaderboard/stream", "max-age": "86400", **common},
        "topten_board_access": {"value": "A", "path": "/api/v1/leaderboard/stream", "max-age": "600", **common},
        "topten_room_stream": {"value": "S", "path": "/api/v1/rooms", "max-age": "86400", **common},
    }


def test_cookies_are_marked_secure_when_configured() -> None:
    assert all(cookie["secure"] == "True" for cookie in written(signed_in(), secure=True).values())


def test_signing_out_empties_every_cookie_on_its_own_path() -> None:
    cookies = signed_in()
    cookies.close()
    cleared = written(cookies)
    assert {name: cookie["value"] for name, cookie in cleared.items()} == dict.fromkeys(cleared, "")
    assert {name: cookie["path"] for name, cookie in cleared.items()} == {
        name: cookie["path"] for name, cookie in written(signed_in()).items()
    }


def test_a_request_without_sign_in_or_sign_out_sets_no_cookie() -> None:
    assert written(CookieSession("R")) == {}


def test_cookies_count_only_with_the_header_and_on_post() -> None:
    assert wants_cookies(request(Topten_Session="cookie"))
    assert not wants_cookies(request())
    assert not wants_cookies(request(Topten_Session="header"))
    assert not wants_cookies(request("GET", Topten_Session="cookie"))


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Sec_Fetch_Site": "cross-site", "Origin": "http://play.example", "Host": "play.example"},
        {"Origin": "http://evil.example", "Host": "play.example"},
        {"Origin": "http://play.example:81", "Host": "play.example"},
        {"Origin": "null", "Host": "play.example"},
    ],
)
def test_cookies_from_another_origins_page_are_refused(headers: dict[str, str]) -> None:
    foreign = request(Topten_Session="cookie", **headers)
    assert not is_same_origin(foreign)
    with pytest.raises(ServiceError) as refused:
        wants_cookies(foreign)
    assert refused.value.reason is Reason.PERMISSION_DENIED


@pytest.mark.parametrize(
    "headers",
    [{"Sec_Fetch_Site": "same-origin"}, {"Origin": "http://play.example", "Host": "play.example"}, {}],
)
def test_cookies_from_this_origins_page_count(headers: dict[str, str]) -> None:
    assert wants_cookies(request(Topten_Session="cookie", **headers))


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9", "203.0.113.9"),  # the client wrote the first one
        ("203.0.113.9, 10.0.0.8", "203.0.113.9"),  # the last one is a trusted proxy
        ("nonsense", "10.0.0.7"),
        ("", "10.0.0.7"),
    ],
)
def test_the_client_is_the_last_untrusted_hop(forwarded: str, address: str) -> None:
    behind = request(X_Forwarded_For=forwarded).clone(remote="10.0.0.7")
    assert client_address(behind, (ip_network("10.0.0.0/8"),)) == address


def test_only_a_trusted_proxy_may_forward_a_client_address() -> None:
    direct = request(X_Forwarded_For="203.0.113.9").clone(remote="192.0.2.1")
    assert client_address(direct, (ip_network("10.0.0.0/8"),)) == "192.0.2.1"
    assert client_address(direct, ()) == "192.0.2.1"
