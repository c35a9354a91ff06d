"""Board tokens: each reads one board, nothing else, for anybody, until it is revoked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient

from services.cli.system.client import GraphqlClient
from services.runtime.clock import utc_now
from tests.deadline import deadline, eventually
from tests.players import Player, register
from tests.servers import RunningStack
from tests.system.access.calls import called, document
from tests.system.access.permissions import FIELDS, METHODS, process_of
from tests.system.graphql import LOGIN, Answer, Web

ISSUE = """mutation ($board: BoardInput, $expiresAt: DateTime) {
  boardToken(board: $board, expiresAt: $expiresAt) { id token url expiresAt }
}"""
REVOKE = "mutation ($id: ID!) { revokeBoardToken(id: $id) }"
LIST = "{ boardTokens { id board issuedBy issuedAt expiresAt } }"
TOP = "query ($board: BoardInput) { getLeaderboard(board: $board) { username score } }"
PAGE = (
    "query ($board: BoardInput) { leaderboard(board: $board) { totalCount me { rank } edges { node { username } } } }"
)
STREAM = "/api/v1/leaderboard/stream"
QUIZ, RIGHT = "arithmetic-sprint", [("q5", "true")]
ALL = {"kind": "ALL"}
COUNTRY = {"kind": "COUNTRY", "country": "FO"}
WITH_A_BOARD = {"Query.getLeaderboard", "Query.leaderboard"}


@pytest_asyncio.fixture
async def moderator(stack: RunningStack, web: Web) -> str:
    account = stack.endpoints["moderator"]
    login = {"input": {"username": account["username"], "password": account["password"]}}
    token: str = (await web.graphql(LOGIN, login)).body["data"]["login"]["accessToken"]
    return token


async def issue(web: Web, moderator: str, board: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    answer = await web.graphql(ISSUE, {"board": board, **more}, token=moderator)
    assert "errors" not in answer.body, answer.body
    issued: dict[str, Any] = answer.body["data"]["boardToken"]
    return issued


async def read(web: Web, text: str, token: str, variables: Any = None) -> Answer:
    """Send a document as the holder of a board token."""
    return await web.graphql(text, variables, params={"token": token})


@asynccontextmanager
async def watching(web: Web, token: str, board: str) -> AsyncIterator[aiohttp.ClientResponse]:
    async with web.session.get(f"{web.http}{STREAM}", params={"token": token, "board": board}) as response:
        yield response


async def stream_status(web: Web, token: str, board: str) -> int:
    async with watching(web, token, board) as response:
        return response.status


async def test_a_token_reads_its_board_without_an_account(
    stack: RunningStack, client: GraphqlClient, web: Web, moderator: str
) -> None:
    player = await register(client, country="FO")
    points = (await player.submit(QUIZ, RIGHT))["pointsAwarded"]
    issued = await issue(web, moderator, COUNTRY)
    url = urlsplit(issued["url"])
    assert f"{url.scheme}://{url.netloc}" == stack.http
    assert (url.path, url.query, url.fragment) == ("/b/country%3AFO", "view=kiosk", f"token={issued['token']}")

    async def is_shown() -> bool:
        top = (await read(web, TOP, issued["token"], {"board": COUNTRY})).body["data"]["getLeaderboard"]
        return {"username": player.username, "score": points} in top

    await eventually(is_shown, "the player is on the board")
    page = (await read(web, PAGE, issued["token"], {"board": COUNTRY})).body["data"]["leaderboard"]
    assert (page["totalCount"] > 0, page["me"]) == (True, None)
    async with watching(web, issued["token"], "country:FO") as response, deadline("a frame arrives"):
        assert response.status == 200
        events: list[bytes] = []
        while not any(line.startswith(b"data:") and player.username.encode() in line for line in events):
            events.append(await response.content.readline())
        assert b"event: me" not in b"".join(events), "the holder is nobody"
    # By GET as well, for what can do no more.
    query = {"query": TOP, "variables": '{"board": {"kind": "COUNTRY", "country": "FO"}}', "token": issued["token"]}
    answer = await web.request("GET", "/graphql", params=query)
    assert player.username in str(answer.body)


async def test_a_token_opens_nothing_else(stack: RunningStack, web: Web, moderator: str) -> None:
    """Every root field, every method, every other board, and every other place for a token."""
    token = (await issue(web, moderator, COUNTRY))["token"]
    found = {path: (await read(web, document(path, {}), token)).reason for path in FIELDS}
    assert found == dict.fromkeys(FIELDS, "PERMISSION_DENIED"), "the two that read a board ask for another one here"
    for path in WITH_A_BOARD:
        text = document(path, {"board": '{kind: COUNTRY, country: "FO"}'})
        assert "errors" not in (await read(web, text, token)).body, path
    for board in (ALL, {"kind": "COUNTRY", "country": "VN"}, {"kind": "QUIZ", "quizId": QUIZ}):
        assert (await read(web, TOP, token, {"board": board})).reason == "PERMISSION_DENIED"
    both = '{ getLeaderboard(board: {kind: COUNTRY, country: "FO"}) { user { username } } quizzes { totalCount } }'
    answer = await read(web, both, token)
    assert answer.body["data"]["quizzes"] is None
    assert all(entry["user"] is None for entry in answer.body["data"]["getLeaderboard"] or [])

    assert [await stream_status(web, token, board) for board in ("country:FO", "all", "country:VN", "")] == [
        200, 403, 403, 403,
    ]  # fmt: skip
    assert (await web.graphql(TOP, {"board": COUNTRY}, token=token)).status == 401, "it is no access token"
    headers = {"Authorization": f"Bearer {token}"}
    async with web.session.get(f"{web.http}{STREAM}", params={"board": "country:FO"}, headers=headers) as response:
        assert response.status == 401
    for cookie in ("topten_access", "topten_stream"):
        web.session.cookie_jar.update_cookies({cookie: token})
    cookie_mode = {"Topten-Session": "cookie"}
    assert (await web.graphql(TOP, {"board": COUNTRY}, headers=cookie_mode)).reason == "UNAUTHENTICATED"
    assert (await web.request("GET", f"{STREAM}?board=country:FO")).status == 401
    refused = {path: await called(stack, process_of(path), method, {}, token) for path, method in METHODS.items()}
    assert refused == dict.fromkeys(METHODS, "UNAUTHENTICATED")


async def test_only_a_board_token_may_stand_in_a_url(web: Web, player: Player) -> None:
    stream_token = (await web.graphql("{ streamToken { token } }", token=player.access_token)).body["data"]
    for token in (player.access_token, stream_token["streamToken"]["token"], "x", ""):
        answer = await read(web, TOP, token)
        assert (answer.status, answer.reason) == (401, "UNAUTHENTICATED")
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    answer = await web.graphql(TOP, token=player.access_token, params={"token": "x"})
    assert answer.status == 200, "the header is the stronger one"


async def test_a_revoked_token_ends_within_seconds_and_leaves_only_its_log(
    stack: RunningStack, web: Web, moderator: str
) -> None:
    first, second = [await issue(web, moderator, ALL) for _ in range(2)]
    listed = (await web.graphql(LIST, token=moderator)).body["data"]["boardTokens"]
    assert [each["id"] for each in listed[:2]] == [second["id"], first["id"]]
    assert (listed[0]["board"], listed[0]["expiresAt"]) == ("all", second["expiresAt"])
    async with watching(web, first["token"], "all") as ending, watching(web, second["token"], "all") as staying:
        assert (ending.status, staying.status) == (200, 200)
        assert (await read(web, TOP, first["token"])).status == 200
        revoked = [(await web.graphql(REVOKE, {"id": first["id"]}, token=moderator)).body["data"] for _ in range(2)]
        assert revoked == [{"revokeBoardToken": True}, {"revokeBoardToken": False}]
        assert (await read(web, TOP, first["token"])).status == 401
        async with deadline("the revoked token's stream ends"):
            await ending.read()
        assert await stream_status(web, first["token"], "all") == 401
        assert (await read(web, TOP, second["token"])).status == 200
        async with deadline("the other stream goes on"):
            await staying.content.readuntil(b"event: ping")
    ids = [each["id"] for each in (await web.graphql(LIST, token=moderator)).body["data"]["boardTokens"]]
    assert second["id"] in ids
    assert first["id"] not in ids

    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"])
    async with client:
        identity = client["topten_identity"]
        log = [each async for each in identity["board_token_changes"].find({"token": first["id"]}, sort=[("at", 1)])]
        stored = str([each async for each in identity["board_tokens"].find()])
    assert [(each["kind"], each["board"]) for each in log] == [("ISSUED", "all"), ("REVOKED", "all")]
    assert log[0]["actor"] == log[1]["actor"] == listed[1]["issuedBy"]
    logs = "".join(path.read_text() for path in (stack.data / "logs").glob("*.log"))
    assert "board token revoked" in logs
    for each in (first, second):
        assert each["token"] not in logs + stored + str(log)


async def test_a_token_outlives_the_session_of_its_issuer(stack: RunningStack, web: Web, moderator: str) -> None:
    account = stack.endpoints["moderator"]
    login = {"input": {"username": account["username"], "password": account["password"]}}
    session = (await web.graphql(LOGIN, login)).body["data"]["login"]
    token = (await issue(web, session["accessToken"]))["token"]
    logout = "mutation ($token: String) { logout(refreshToken: $token) }"
    assert (await web.graphql(logout, {"token": session["refreshToken"]})).body == {"data": {"logout": True}}
    assert (await read(web, TOP, token)).status == 200


@pytest.mark.parametrize(
    ("variables", "reason", "field"),
    [
        ({"board": {"kind": "COUNTRY"}}, "INVALID_ARGUMENT", "board.country"),
        ({"board": {"kind": "CUSTOM", "name": "nonsense"}}, "BOARD_NOT_FOUND", ""),
        ({"board": {"kind": "QUIZ", "quizId": "nonsense"}}, "BOARD_NOT_FOUND", ""),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "INVALID_ARGUMENT", "expiresAt"),
        ({"expiresAt": (utc_now() + timedelta(days=367)).isoformat()}, "INVALID_ARGUMENT", "expiresAt"),
    ],
)
async def test_an_impossible_token_is_one_clear_error(
    web: Web, moderator: str, variables: dict[str, Any], reason: str, field: str
) -> None:
    answer = await web.graphql(ISSUE, variables, token=moderator)
    assert answer.reason == reason
    assert answer.body["errors"][0]["message"].startswith(f"{field}: " if field else "Board not found.")


async def test_visitors_who_share_a_token_do_not_share_the_streams_of_one_player(web: Web, moderator: str) -> None:
    token = (await issue(web, moderator))["token"]
    async with AsyncExitStack() as stack:
        opened = await asyncio.gather(
            *(stack.enter_async_context(watching(web, token, "all")) for _ in range(25)),
        )
        assert {each.status for each in opened} == {200}, "a player may open 20"
