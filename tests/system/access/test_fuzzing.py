"""Random input wherever a client may send some: no 5xx, no hang, no traceback.

The number of examples is bounded, and their seed is fixed.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from graphql import StringValueNode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis_graphql import from_schema

from edge.graphql.schema import SDL_PATH
from services.cli.system.client import GraphqlClient
from services.score.errors import UnprocessableError
from services.score.ingest.decoding import decode
from services.score.ledger.events import Event
from services.score.ledger.personal_data_digests import PersonalDataDigests
from tests.deadline import deadline
from tests.players import endpoints
from tests.servers import RunningStack
from tests.system.graphql import Web, browsing

STREAM = "/api/v1/leaderboard/stream"
EXAMPLES = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
# Text without the characters that HTTP forbids in a URL or a header.
TEXT = st.text(st.characters(codec="utf-8"), max_size=200)
ASCII = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=200)
# Purely random text would hardly ever be close to a valid value.
CURSORS = st.one_of(TEXT, st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
POSITIONS = st.one_of(ASCII, st.tuples(st.integers(), st.integers()).map(lambda pair: f"{pair[0]}-{pair[1]}"))
BOARDS = st.one_of(
    TEXT,
    st.tuples(
        st.sampled_from("all weekly monthly country quiz custom".split()),
        st.sampled_from(["", "2026-47", "2026-54", "0000-00", "9999-12", "VN", "\u0661"]),
    ).map(":".join),
)
SCALARS = {"DateTime": TEXT.map(lambda text: StringValueNode(value=text))}


@pytest.fixture(scope="module")
async def signed_in(stack: RunningStack) -> AsyncIterator[Web]:
    """A demo player's client; fails if a process has logged a traceback by the end."""
    logs = {log: log.stat().st_size for log in (stack.data / "logs").glob("*.log")}
    player = stack.endpoints["players"][0]
    async with GraphqlClient(endpoints(stack).graphql) as client, browsing(stack.http) as web:
        token = await client.login(player["username"], player["password"])
        web.session.headers["Authorization"] = f"Bearer {token}"
        yield web
    for log, size in logs.items():
        with log.open("rb") as file:
            file.seek(size)
            assert b"Traceback" not in file.read(), log.name


async def status_of(web: Web, method: str, path: str, **options: Any) -> int:
    async with deadline("the edge responds"):
        async with web.session.request(method, f"{web.http}{path}", **options) as response:
            if response.content_type != "text/event-stream":
                await response.read()
            return response.status


@given(document=from_schema(SDL_PATH.read_text(), custom_scalars=SCALARS, allow_x00=True))
@settings(EXAMPLES, max_examples=50)
async def test_no_valid_document_fails_internally(signed_in: Web, document: str) -> None:
    response = await signed_in.graphql(document)
    assert response.status < 500
    reasons = {error["extensions"]["reason"] for error in response.body.get("errors", ())}
    assert "INTERNAL" not in reasons, document


@given(cursor=CURSORS, token=TEXT)
@settings(EXAMPLES, max_examples=50)
async def test_no_cursor_or_refresh_token_fails_internally(signed_in: Web, cursor: str, token: str) -> None:
    document = """query ($c: String) {
      leaderboard(after: $c) { totalCount } quizzes(after: $c) { totalCount } scoreHistory(after: $c) { edges { cursor } }
      closedPeriods(after: $c, board: {kind: WEEKLY}) { edges { cursor } } exportMyData(after: $c) { next }
    }"""
    for text, variables in (
        (document, {"c": cursor}),
        (
            "mutation ($t: String) { refreshToken(refreshToken: $t) { expiresIn } logout(refreshToken: $t) }",
            {"t": token},
        ),
    ):
        response = await signed_in.graphql(text, variables)
        assert response.status < 500
        assert "INTERNAL" not in {error["extensions"]["reason"] for error in response.body.get("errors", ())}


@given(board=BOARDS, position=POSITIONS, token=st.none() | TEXT, named=st.booleans())
@settings(EXAMPLES, max_examples=50)
async def test_no_stream_request_fails_internally(
    signed_in: Web, board: str, position: str, token: str | None, *, named: bool
) -> None:
    query = {"board": board} | ({"lastEventId": position} if named else {}) | ({"token": token} if token else {})
    headers = {} if named else {"Last-Event-ID": position.strip()}
    if token:
        headers["Authorization"] = ""
    assert await status_of(signed_in, "GET", STREAM, params=query, headers=headers) < 500


@given(token=ASCII | st.lists(st.binary(max_size=30).map(lambda raw: raw.hex()), max_size=5).map(".".join))
@settings(EXAMPLES, max_examples=50)
async def test_no_invented_access_token_is_accepted(stack: RunningStack, token: str) -> None:
    async with browsing(stack.http) as web:
        headers = {"Authorization": f"Bearer {token}"}
        assert await status_of(web, "POST", "/graphql", json={"query": "{ me { userId } }"}, headers=headers) == 401
        assert await status_of(web, "GET", STREAM, headers=headers) == 401


@given(
    path=TEXT, method=st.sampled_from("GET POST HEAD PUT DELETE PATCH OPTIONS".split()), body=st.binary(max_size=200)
)
@settings(EXAMPLES, max_examples=50)
async def test_no_path_method_or_body_fails_internally(signed_in: Web, path: str, method: str, body: bytes) -> None:
    try:
        assert await status_of(signed_in, method, "/" + path, data=body) < 500
    except aiohttp.InvalidURL:
        return
    headers = {"Content-Type": "application/json"}
    assert await status_of(signed_in, "POST", "/graphql", data=body, headers=headers) < 500


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(
    request=st.fixed_dictionaries(
        {},
        optional={
            "query": st.just("query ($input: QuizActionInput!) { submitQuizAction(input: $input) { success } }") | JSON,
            "variables": st.fixed_dictionaries({"input": JSON}) | JSON,
            "operationName": JSON,
            "extensions": st.fixed_dictionaries({"persistedQuery": JSON}) | JSON,
            "documentId": JSON,
        },
    )
)
@settings(EXAMPLES, max_examples=100)
async def test_no_json_request_fails_internally(signed_in: Web, request: dict[str, Any]) -> None:
    assert await status_of(signed_in, "POST", "/graphql", json=request) < 500


KINDS = "QUIZ_COMPLETED ACTION_VOIDED SCORE_ADJUSTED PLAYER_BLOCKED PLAYER_UNBLOCKED COUNTRY_CHANGED".split()


def event_of(kind: str, payload: bytes) -> bytes:
    """Encode an event of a known kind with a payload that may be invalid."""
    fields = ((0x0A, b"e1"), (0x12, kind.encode()), (0x1A, payload))
    return b"".join(bytes([tag, len(value)]) + value for tag, value in fields)


EVENT = st.binary(max_size=300) | st.builds(event_of, st.sampled_from(KINDS), st.binary(max_size=100))


@given(data=EVENT, sequence=st.integers(0, 2**63 - 1), partition=st.integers(0, 2**15))
@settings(EXAMPLES, max_examples=1000)
def test_no_event_breaks_the_decoder(data: bytes, sequence: int, partition: int) -> None:
    try:
        assert isinstance(
            decode(data, sequence=sequence, partition=partition, digests=PersonalDataDigests(b"s" * 32)), Event
        )
    except UnprocessableError as refused:
        assert len(str(refused)) < 200
