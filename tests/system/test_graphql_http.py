"""GraphQL over HTTP, and what else the edge answers: methods, media types, statuses, headers, bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from edge.graphql.schema import SDL_PATH
from services.local.client import GraphqlClient
from tests.players import endpoints
from tests.servers import RunningStack, second
from tests.system.graphql import Answer, Web, browsing

TYPENAME = "{ __typename }"
GRAPHQL_JSON = "application/graphql-response+json"
PROBLEM = "application/problem+json"


@pytest.fixture
async def web(stack: RunningStack) -> AsyncIterator[Web]:
    async with browsing(stack.http) as opened:
        yield opened


async def post(web: Web, body: bytes | str, **headers: str) -> Answer:
    sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return await web.request("POST", "/graphql", data=body, headers=sent)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/*;q=0.5", "application/json"),
        ("application/json", "application/json"),
        (GRAPHQL_JSON, GRAPHQL_JSON),
        (f"{GRAPHQL_JSON}; charset=utf-8, application/json;q=0.9", GRAPHQL_JSON),
        (f"text/html, {GRAPHQL_JSON}", GRAPHQL_JSON),
    ],
)
async def test_the_answer_has_the_media_type_that_was_asked_for(
    web: Web, accept: str | None, content_type: str
) -> None:
    headers = {"Accept": accept} if accept else {}
    answer = await web.graphql(TYPENAME, headers=headers, skip_auto_headers=["Accept"])
    assert answer.status == 200
    assert answer.headers["Content-Type"] == f"{content_type}; charset=utf-8"
    assert answer.body == {"data": {"__typename": "Query"}}


async def test_an_answer_that_nobody_reads_is_not_made(web: Web) -> None:
    answer = await web.graphql(TYPENAME, headers={"Accept": "text/html"})
    assert (answer.status, answer.headers["Content-Type"]) == (406, PROBLEM)


@pytest.mark.parametrize("document", ["{", "{ nothing }", "{ me }", "fragment F on Query { me { userId } }"])
async def test_a_document_that_cannot_run_is_400_but_for_those_who_know_only_json(web: Web, document: str) -> None:
    modern = await web.graphql(document, headers={"Accept": GRAPHQL_JSON})
    plain = await web.graphql(document, headers={"Accept": "application/json"})
    assert (modern.status, plain.status) == (400, 200)
    for answer in (modern, plain):
        assert answer.reason == "INVALID_ARGUMENT"
        assert "data" not in answer.body


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "null",
        "7",
        '"query"',
        "{}",
        '{"query": null}',
        '{"query": ""}',
        '{"query": ["{me{userId}}"]}',
        '{"query": "{__typename}", "variables": 7}',
        '{"query": "{__typename}", "variables": []}',
        '{"query": "{__typename}", "operationName": 7}',
        '{"query": "{__typename}", "extensions": "x"}',
        '[{"query": "{__typename}"}]',
        "[" * 50_000,
        '{"a":' * 10_000,
        '{"query": "{__typename}", "variables": {"a": ' + "[" * 2000 + "]" * 2000 + "}}",
        b"\xff\xfe",
    ],
)
async def test_a_body_that_is_no_request_is_400(web: Web, body: bytes | str) -> None:
    answer = await post(web, body)
    assert (answer.status, answer.reason) == (400, "INVALID_ARGUMENT")


async def test_variables_nested_as_deep_as_json_allows_are_refused(web: Web) -> None:
    document = "query ($id: ID!) { quiz(id: $id) { id } }"
    nested = "[" * 900 + "]" * 900
    body = f'{{"query": "{document}", "variables": {{"id": {nested}}}}}'
    answer = await post(web, body)
    assert (answer.status, answer.reason) == (400, "DOCUMENT_TOO_COSTLY")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_nothing_but_json_is_read(web: Web, content_type: str) -> None:
    answer = await post(web, '{"query": "{__typename}"}', Content_Type=content_type)
    assert (answer.status, answer.headers["Content-Type"]) == (415, PROBLEM)


async def test_a_body_has_a_longest_length(web: Web) -> None:
    answer = await post(web, '{"query": "{__typename}"}' + " " * 70_000)
    assert (answer.status, answer.headers["Content-Type"]) == (413, PROBLEM)


async def test_queries_may_be_sent_by_get_and_mutations_may_not(web: Web) -> None:
    query = await web.request("GET", "/graphql", params={"query": TYPENAME, "variables": "{}"})
    assert (query.status, query.body) == (200, {"data": {"__typename": "Query"}})
    mutation = await web.request("GET", "/graphql", params={"query": 'mutation { logout(refreshToken: "x") }'})
    assert (mutation.status, mutation.headers["Allow"]) == (405, "POST")
    assert (await web.request("GET", "/graphql")).status == 400
    assert (await web.request("GET", "/graphql", params={"query": TYPENAME, "variables": "{"})).status == 400
    assert (await web.request("PUT", "/graphql")).status == 405


async def test_an_operation_is_chosen_by_its_name(web: Web) -> None:
    document = "query A { __typename } query B { b: __typename }"
    chosen = await web.request("POST", "/graphql", json={"query": document, "operationName": "B"})
    assert chosen.body == {"data": {"b": "Query"}}
    for name in (None, "C"):
        answer = await web.request("POST", "/graphql", json={"query": document, "operationName": name})
        assert answer.reason == "INVALID_ARGUMENT"


async def test_a_document_that_costs_too_much_is_refused_in_time(web: Web) -> None:
    spreads = "".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(30))
    document = f"{{ ...F0 }} {spreads} fragment F30 on Query {{ me {{ userId }} }}"
    answer = await web.graphql(document, headers={"Accept": GRAPHQL_JSON})
    assert (answer.status, answer.reason) == (400, "DOCUMENT_TOO_COSTLY")


async def test_a_request_id_is_taken_over_if_it_is_one_and_made_if_not(web: Web) -> None:
    kept = await web.graphql("{ me { userId } }", headers={"X-Request-Id": "a-client-s-own.id_7"})
    assert kept.headers["X-Request-Id"] == "a-client-s-own.id_7"
    assert kept.body["errors"][0]["extensions"]["requestId"] == "a-client-s-own.id_7"
    made = await web.graphql("{ me { userId } }", headers={"X-Request-Id": "not one"})
    assert made.headers["X-Request-Id"] not in ("", "not one")


@pytest.mark.parametrize(
    "path", ["/", "/graphql?query={__typename}", "/livez", "/no-such-path", "/api/v1/leaderboard/stream"]
)
async def test_every_answer_carries_the_headers_that_keep_browsers_safe(web: Web, path: str) -> None:
    headers = (await web.request("GET", path)).headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "aiohttp" not in headers["Server"]
    assert "Access-Control-Allow-Origin" not in headers


async def test_what_is_not_there_is_a_problem(web: Web) -> None:
    answer = await web.request("GET", "/no-such-path")
    assert (answer.status, answer.headers["Content-Type"]) == (404, PROBLEM)
    assert answer.body["instance"] == "/no-such-path"
    assert answer.body["requestId"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    "path", ["/../edge/config.py", "/..%2fconfig.py", "/%2e%2e/config.py", "/static/../../app.py", "//app.py"]
)
async def test_no_path_leads_out_of_the_page_s_files(stack: RunningStack, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 404")


async def test_the_page_and_its_files_are_public_and_revalidated(web: Web) -> None:
    async with web.session.get(f"{web.http}/") as page:
        assert page.status == 200
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        etag = page.headers["ETag"]
    again = await web.request("GET", "/", headers={"If-None-Match": etag})
    assert (again.status, again.headers["ETag"]) == (304, etag)
    async with web.session.get(f"{web.http}/app.js") as script:
        assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"


async def test_health_and_keys_are_public(stack: RunningStack, web: Web) -> None:
    assert (await web.request("GET", "/livez")).status == 200
    ready = await web.request("GET", "/readyz")
    assert (ready.status, ready.body["ready"]) == (200, True)
    assert set(ready.body["checks"].values()) == {"ok"}
    keys = (await web.request("GET", "/.well-known/jwks.json")).body["keys"]
    own = await web.request("GET", "/.well-known/jwks.json")
    async with web.session.get(f"{stack.endpoints['identity_http']}/.well-known/jwks.json") as issuer:
        assert (await issuer.json())["keys"] == keys == own.body["keys"]
    assert not {"d", "p", "q"} & keys[0].keys()


async def test_an_edge_without_its_services_lives_and_is_not_ready(stack: RunningStack) -> None:
    with second(stack, "edge", wait="livez", UPSTREAM_SCORE="127.0.0.1:1") as edge:
        async with browsing(f"http://{edge['TOPTEN_EDGE_HTTP_ADDRESS']}") as web:
            ready = await web.request("GET", "/readyz")
            assert (ready.status, ready.body["ready"]) == (503, False)
            assert ready.body["checks"]["score"] == "failing"
            assert ready.body["checks"]["identity"] == "ok"
            assert (await web.request("GET", "/livez")).status == 200


async def test_a_field_whose_service_is_away_is_null_beside_the_others(stack: RunningStack) -> None:
    player = stack.endpoints["players"][0]
    async with GraphqlClient(endpoints(stack).graphql) as client:
        token = await client.login(player["username"], player["password"])
    with second(stack, "edge", wait="livez", UPSTREAM_SCORE="127.0.0.1:1") as edge:
        async with browsing(f"http://{edge['TOPTEN_EDGE_HTTP_ADDRESS']}") as web:
            answer = await web.graphql("{ me { username score } quizzes { totalCount } }", token=token)
    assert answer.body["data"]["me"] == {"username": player["username"], "score": None}
    assert answer.body["data"]["quizzes"]["totalCount"] >= 6
    assert answer.reason == "UNAVAILABLE"


async def test_other_origins_are_let_in_only_where_they_are_configured(stack: RunningStack) -> None:
    friend: dict[str, Any] = {"Origin": "https://friend.example"}
    with second(stack, "edge", EDGE_ALLOWED_ORIGINS="https://friend.example") as edge:
        async with browsing(f"http://{edge['TOPTEN_EDGE_HTTP_ADDRESS']}") as web:
            preflight = await web.request("OPTIONS", "/graphql", headers=friend)
            assert preflight.headers["Access-Control-Allow-Origin"] == "https://friend.example"
            assert "authorization" in preflight.headers["Access-Control-Allow-Headers"]
            assert "Access-Control-Allow-Credentials" not in preflight.headers
            answer = await web.graphql(TYPENAME, headers=friend)
            assert answer.headers["Access-Control-Allow-Origin"] == "https://friend.example"
            assert answer.headers["Vary"] == "Origin"
            foreign = await web.request("OPTIONS", "/graphql", headers={"Origin": "https://foe.example"})
            assert "Access-Control-Allow-Origin" not in foreign.headers
            assert "Access-Control-Allow-Methods" not in foreign.headers


async def test_the_schema_is_served_as_text_to_those_who_may_introspect(web: Web) -> None:
    async with web.session.get(f"{web.http}/graphql/schema.graphql") as answer:
        assert answer.status == 200
        assert await answer.text() == SDL_PATH.read_text()


async def test_production_hides_the_schema_and_sends_cookies_over_https_alone(stack: RunningStack) -> None:
    with second(stack, "edge", ENVIRONMENT="production") as edge:
        async with browsing(f"http://{edge['TOPTEN_EDGE_HTTP_ADDRESS']}") as web:
            assert (await web.graphql("{ __schema { types { name } } }")).reason == "INVALID_ARGUMENT"
            assert (await web.request("GET", "/graphql/schema.graphql")).status == 404
            unknown = await web.graphql("{ me { usernam } }")
            assert "Did you mean" not in unknown.body["errors"][0]["message"]
            player = stack.endpoints["players"][0]
            account = {"username": player["username"], "password": player["password"]}
            document = "mutation ($input: LoginInput!) { login(input: $input) { expiresIn } }"
            login = await web.graphql(document, {"input": account}, headers={"Topten-Session": "cookie"})
            assert all(morsel["secure"] for morsel in login.cookies.values())
            assert len(login.cookies) == 3
            assert login.headers["Strict-Transport-Security"]
