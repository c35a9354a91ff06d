"""Authentication: tokens in headers, tokens in cookies, and none."""

from __future__ import annotations

from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from yarl import URL

from services.identity.accounts import Account
from services.identity.tokens import TokenIssuer
from services.runtime.auth.verification import EXPIRED, INVALID, WRONG_KIND
from services.runtime.clock import utc_now
from tests.players import PASSWORD, Player
from tests.servers import RunningStack, unique
from tests.system.graphql import COOKIE_MODE, LOGIN, Web, browsing

ME = "{ me { username } }"
REFRESH = "mutation ($token: String) { refreshToken(refreshToken: $token) { accessToken refreshToken expiresIn } }"
LOGOUT = "mutation ($token: String) { logout(refreshToken: $token) }"
STREAM = "/api/v1/leaderboard/stream"
ROOM_STREAM = "/api/v1/rooms/0000000/stream"


def issuer(stack: RunningStack, key: str | None = None) -> TokenIssuer:
    pem = key or (stack.data / "secrets" / "signing_key.pem").read_text()
    return TokenIssuer(pem, issuer="topten", audience="topten", access_ttl=timedelta(minutes=10))


def account(player: Player) -> Account:
    return Account(player.user_id, player.username, "", frozenset({"player"}), "VN", utc_now())


def another_key() -> str:
    return (
        Ed25519PrivateKey.generate()
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


async def test_a_missing_token_is_an_error_of_the_field(web: Web) -> None:
    answer = await web.graphql(ME)
    assert (answer.status, answer.reason) == (200, "UNAUTHENTICATED")
    assert answer.body["data"] == {"me": None}
    assert answer.body["errors"][0]["path"] == ["me"]


@pytest.mark.parametrize(
    "document",
    [
        "{ getLeaderboard { rank } }",
        "{ quizzes { totalCount } }",
        '{ quiz(id: "world-capitals") { id } }',
        """mutation { submitQuizAction(input: {
          quizId: "world-capitals", actionId: "0", answers: [], timestamp: "2026-11-23T20:00:00Z"
        }) { success } }""",
    ],
)
async def test_only_signing_in_is_public(web: Web, document: str) -> None:
    answer = await web.graphql(document)
    assert (answer.status, answer.reason) == (200, "UNAUTHENTICATED")


async def test_a_token_signed_with_the_key_of_the_stack_is_accepted(
    stack: RunningStack, web: Web, player: Player
) -> None:
    """The token of which the next tests change one claim each."""
    token = issuer(stack).access_token(account(player), "session", utc_now())
    assert (await web.graphql(ME, token=token)).body == {"data": {"me": {"username": player.username}}}


async def test_an_invalid_token_is_401_for_every_document(stack: RunningStack, web: Web, player: Player) -> None:
    now = utc_now()
    good = issuer(stack).access_token(account(player), "session", now)
    claims = jwt.decode(good, options={"verify_signature": False})
    head, body, signature = good.split(".")
    bad = {
        "expired": issuer(stack).access_token(account(player), "session", now - timedelta(minutes=11)),
        "forged": issuer(stack, another_key()).access_token(account(player), "session", now),
        "of the stream": issuer(stack).stream_token(account(player), "session", now, now + timedelta(hours=1)),
        "unsigned": jwt.encode(claims, "", algorithm="none", headers={"typ": "at+jwt", "kid": "x"}),
        "cut": f"{head}.{body}.{signature[:-4]}",
        "no token": "nonsense",
    }
    said = {"expired": EXPIRED, "of the stream": WRONG_KIND}
    for name, token in bad.items():
        for document in (ME, LOGOUT):
            answer = await web.graphql(document, token=token)
            assert (answer.status, answer.reason) == (401, "UNAUTHENTICATED"), name
            assert "data" not in answer.body, name
            message = answer.body["errors"][0]["message"]
            assert message == said.get(name, INVALID), name
            expected = f'Bearer error="invalid_token", error_description="{message}"'
            assert answer.headers["WWW-Authenticate"] == expected, name


async def test_a_refresh_token_continues_a_session_and_a_logout_ends_it(web: Web, player: Player) -> None:
    renewed = await web.graphql(REFRESH, {"token": player.refresh_token})
    session = renewed.body["data"]["refreshToken"]
    assert session["refreshToken"] != player.refresh_token
    assert (await web.graphql(ME, token=session["accessToken"])).body["data"]["me"]["username"] == player.username

    assert (await web.graphql(LOGOUT, {"token": session["refreshToken"]})).body == {"data": {"logout": True}}
    assert (await web.graphql(LOGOUT, {"token": session["refreshToken"]})).body == {"data": {"logout": False}}
    assert (await web.graphql(REFRESH, {"token": session["refreshToken"]})).reason == "UNAUTHENTICATED"


@pytest.mark.parametrize("document", [REFRESH, LOGOUT])
async def test_without_cookies_the_refresh_token_is_required(web: Web, document: str) -> None:
    assert (await web.graphql(document)).reason == "INVALID_ARGUMENT"


async def test_a_browser_signs_in_plays_refreshes_and_signs_out_by_cookie(web: Web, player: Player) -> None:
    login = await web.graphql(
        LOGIN, {"input": {"username": player.username, "password": PASSWORD}}, headers=COOKIE_MODE
    )
    session = login.body["data"]["login"]
    assert (session["accessToken"], session["refreshToken"]) == ("", "")
    assert session["user"] == {"userId": player.user_id}
    of_streams = {"topten_stream", "topten_board_access"}
    assert set(login.cookies) == {"topten_access", "topten_refresh", "topten_room_stream", *of_streams}
    for morsel in login.cookies.values():
        assert morsel["httponly"]
        assert morsel["samesite"] == "Strict"
    assert set(web.cookies("/graphql")) == {"topten_access", "topten_refresh"}
    assert set(web.cookies(STREAM)) == of_streams
    assert set(web.cookies(ROOM_STREAM)) == {"topten_room_stream"}
    assert web.cookies("/") == {}

    assert (await web.graphql(ME, headers=COOKIE_MODE)).body["data"]["me"]["username"] == player.username

    before = web.cookies("/graphql")
    renewed = await web.graphql(REFRESH, headers=COOKIE_MODE)
    assert renewed.body["data"]["refreshToken"]["refreshToken"] == ""
    assert web.cookies("/graphql")["topten_refresh"] != before["topten_refresh"]

    async with web.session.get(f"{web.http}{STREAM}") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
    assert (await web.request("GET", ROOM_STREAM)).status == 404, "the cookie opens it, and there is no such room"
    assert (await web.request("GET", ROOM_STREAM, headers={"Sec-Fetch-Site": "same-site"})).status == 403

    assert (await web.graphql(LOGOUT, headers=COOKIE_MODE)).body == {"data": {"logout": True}}
    assert web.cookies("/graphql") == web.cookies(STREAM) == web.cookies(ROOM_STREAM) == {}
    assert (await web.request("GET", ROOM_STREAM)).status == 401
    assert (await web.graphql(REFRESH, headers=COOKIE_MODE)).reason == "UNAUTHENTICATED"


async def test_cookies_are_ignored_without_the_header_of_cookie_mode(web: Web) -> None:
    account = {"username": unique("cookie-"), "password": PASSWORD}
    register_document = "mutation ($input: RegisterInput!) { register(input: $input) { expiresIn } }"
    await web.graphql(register_document, {"input": account}, headers=COOKIE_MODE)
    assert web.cookies("/graphql")

    assert (await web.graphql(ME)).reason == "UNAUTHENTICATED"
    by_get = await web.request("GET", "/graphql", params={"query": ME}, headers=COOKIE_MODE)
    assert by_get.reason == "UNAUTHENTICATED"
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
    ):
        foreign = await web.graphql(ME, headers=COOKIE_MODE | headers)
        assert (foreign.status, foreign.reason) == (403, "PERMISSION_DENIED")
    assert (await web.graphql(ME, headers=COOKIE_MODE | {"Origin": web.http})).status == 200


async def test_a_browser_with_an_invalid_cookie_can_sign_in_again(web: Web, player: Player) -> None:
    web.session.cookie_jar.update_cookies({"topten_access": "dead", "topten_refresh": "dead"}, URL(web.http))
    assert (await web.graphql(ME, headers=COOKIE_MODE)).reason == "UNAUTHENTICATED"
    account = {"username": player.username, "password": PASSWORD}
    again = await web.graphql(LOGIN, {"input": account}, headers=COOKIE_MODE)
    assert "errors" not in again.body
    assert (await web.graphql(ME, headers=COOKIE_MODE)).body["data"]["me"]["username"] == player.username


async def test_a_late_refusal_leaves_the_cookies_of_a_newer_session(web: Web, player: Player) -> None:
    """Two tabs: one refreshes an ended session, the other signs in, and the refusal arrives last."""
    account = {"username": player.username, "password": PASSWORD}
    await web.graphql(LOGIN, {"input": account}, headers=COOKIE_MODE)
    old = web.cookies("/graphql")["topten_refresh"]
    await web.graphql("mutation { logout }", headers=COOKIE_MODE)
    await web.graphql(LOGIN, {"input": account}, headers=COOKIE_MODE)
    newer = web.cookies("/graphql")
    for late in ({"topten_refresh": old}, {"topten_refresh": "dead"}, {"topten_access": "dead"}):
        async with browsing(web.http) as tab:
            tab.session.cookie_jar.update_cookies(late, URL(web.http))
            refused = await tab.graphql(REFRESH, headers=COOKIE_MODE)
        assert (refused.reason, len(refused.cookies)) == ("UNAUTHENTICATED", 0)
    assert web.cookies("/graphql") == newer
    assert (await web.graphql(ME, headers=COOKIE_MODE)).body["data"]["me"]["username"] == player.username
