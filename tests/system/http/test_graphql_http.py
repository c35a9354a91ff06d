"""GraphQL over HTTP and the edge's other resources: methods, media types, statuses, headers, limits."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from edge.graphql.schema import SDL_PATH
from edge.http.callers.cookies import PATHS
from services.cli.system.client import GraphqlClient
from tests.players import endpoints
from tests.replicas import second_instance
from tests.servers import RunningStack
from tests.system.graphql import Answer, Web, browsing

TYPENAME = "{ __typename }"
GRAPHQL_JSON = "application/graphql-response+json"
PROBLEM = "application/problem+json"


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
async def test_a_response_has_the_accepted_media_type(web: Web, accept: str | None, content_type: str) -> None:
    headers = {"Accept": accept} if accept else {}
    answer = await web.graphql(TYPENAME, headers=headers, skip_auto_headers=["Accept"])
    assert answer.status == 200
    assert answer.headers["Content-Type"] == f"{content_type}; charset=utf-8"
    assert answer.body == {"data": {"__typename": "Query"}}


async def test_an_unacceptable_media_type_is_406(web: Web) -> None:
    answer = await web.graphql(TYPENAME, headers={"Accept": "text/html"})
    assert (answer.status, answer.headers["Content-Type"]) == (406, PROBLEM)


@pytest.mark.parametrize("document", ["{", "{ nothing }", "{ me }", "fragment F on Query { me { userId } }"])
async def test_an_invalid_document_is_400_except_for_plain_json(web: Web, document: str) -> None:
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
async def test_a_malformed_body_is_400(web: Web, body: bytes | str) -> None:
    answer = await post(web, body)
    assert (answer.status, answer.reason) == (400, "INVALID_ARGUMENT")


async def test_variables_nested_as_deep_as_json_allows_are_refused(web: Web) -> None:
    document = "query ($id: ID!) { quiz(id: $id) { id } }"
    nested = "[" * 900 + "]" * 900
    body = f'{{"query": "{document}", "variables": {{"id": {nested}}}}}'
    answer = await post(web, body)
    assert (answer.status, answer.reason) == (400, "DOCUMENT_TOO_COSTLY")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_a_body_must_be_json(web: Web, content_type: str) -> None:
    answer = await post(web, '{"query": "{__typename}"}', Content_Type=content_type)
    assert (answer.status, answer.headers["Content-Type"]) == (415, PROBLEM)


async def test_a_body_above_the_limit_is_413(web: Web) -> None:
    answer = await post(web, '{"query": "{__typename}"}' + " " * 270_000)
    assert (answer.status, answer.headers["Content-Type"]) == (413, PROBLEM)


async def test_get_is_for_queries_only(web: Web) -> None:
    query = await web.request("GET", "/graphql", params={"query": TYPENAME, "variables": "{}"})
    assert (query.status, query.body) == (200, {"data": {"__typename": "Query"}})
    mutation = await web.request("GET", "/graphql", params={"query": 'mutation { logout(refreshToken: "x") }'})
    assert (mutation.status, mutation.headers["Allow"]) == (405, "POST")
    assert (await web.request("GET", "/graphql")).status == 400
    assert (await web.request("GET", "/graphql", params={"query": TYPENAME, "variables": "{"})).status == 400
    assert (await web.request("PUT", "/graphql")).status == 405


async def test_operation_name_selects_the_operation(web: Web) -> None:
    document = "query A { __typename } query B { b: __typename }"
    chosen = await web.request("POST", "/graphql", json={"query": document, "operationName": "B"})
    assert chosen.body == {"data": {"b": "Query"}}
    for name in (None, "C"):
        answer = await web.request("POST", "/graphql", json={"query": document, "operationName": name})
        assert answer.reason == "INVALID_ARGUMENT"


async def test_a_document_that_costs_too_much_is_refused_before_execution(web: Web) -> None:
    spreads = "".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(30))
    document = f"{{ ...F0 }} {spreads} fragment F30 on Query {{ me {{ userId }} }}"
    answer = await web.graphql(document, headers={"Accept": GRAPHQL_JSON})
    assert (answer.status, answer.reason) == (400, "DOCUMENT_TOO_COSTLY")


async def test_a_valid_request_id_is_kept_and_any_other_replaced(web: Web) -> None:
    kept = await web.graphql("{ me { userId } }", headers={"X-Request-Id": "a-client-s-own.id_7"})
    assert kept.headers["X-Request-Id"] == "a-client-s-own.id_7"
    assert kept.body["errors"][0]["extensions"]["requestId"] == "a-client-s-own.id_7"
    made = await web.graphql("{ me { userId } }", headers={"X-Request-Id": "not one"})
    assert made.headers["X-Request-Id"] not in ("", "not one")


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", {}),
        ("GET", "/graphql?query={__typename}", {}),
        ("GET", "/livez", {}),
        ("GET", "/no-such-path", {}),
        ("GET", "/api/v1/leaderboard/stream", {}),
        ("POST", "/graphql", {"Content-Type": "application/json"}),
        ("POST", "/graphql", {"Content-Type": "application/json", "Authorization": "Bearer none"}),
        ("POST", "/graphql", {"Content-Type": "text/plain"}),
        ("POST", "/graphql", {"Content-Type": "application/json", "Expect": "100-continue"}),
    ],
)
async def test_every_response_has_the_security_headers(
    web: Web, method: str, path: str, headers: dict[str, str]
) -> None:
    body = '{"query": "{ __typename }"}' if method == "POST" else None
    received = (await web.request(method, path, headers=headers, data=body)).headers
    assert received["X-Request-Id"]
    assert "default-src 'self'" in received["Content-Security-Policy"]
    assert "unsafe" not in received["Content-Security-Policy"]
    assert received["X-Content-Type-Options"] == "nosniff"
    assert received["X-Frame-Options"] == "DENY"
    assert received["Referrer-Policy"] == "no-referrer"
    assert "aiohttp" not in received["Server"]
    assert "Access-Control-Allow-Origin" not in received


async def test_an_unknown_path_is_a_problem(web: Web) -> None:
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
        script = re.search(r'src="(/assets/[0-9a-f]{16}/app\.js)"', await page.text())
    again = await web.request("GET", "/", headers={"If-None-Match": etag})
    assert (again.status, again.headers["ETag"]) == (304, etag)
    assert script is not None
    async with web.session.get(web.http + script[1]) as file:
        assert file.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert (file.headers["Cache-Control"], file.headers["Content-Encoding"]) == (
            "public, max-age=31536000, immutable", "gzip",
        )  # fmt: skip
    # During an upgrade the page of one edge may load a file from another.
    async with web.session.get(f"{web.http}/assets/{'0' * 16}/app.js") as file:
        assert (file.status, file.headers["Cache-Control"]) == (200, "no-store")
    plain = await web.request("GET", "/b/weekly", headers={"Accept-Encoding": "gzip;q=0"})
    assert (plain.status, plain.headers.get("Content-Encoding")) == (200, None), (
        "every state of the page has an address"
    )
    assert (await web.request("GET", "/assets/../config.py")).status == 404


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


async def test_an_edge_without_its_services_is_live_and_not_ready(stack: RunningStack) -> None:
    with second_instance(stack, "edge", wait="livez", UPSTREAM_SCORE="127.0.0.1:1") as edge:
        async with browsing(f"http://{edge['TOPTEN_EDGE_HTTP_ADDRESS']}") as web:
            ready = await web.request("GET", "/readyz")
            assert (ready.status, ready.body["ready"]) == (503, False)
            assert ready.body["checks"]["score"] == "failing"
            assert ready.body["checks"]["identity"] == "ok"
            assert (await web.request("GET", "/livez")).status == 200
        async with browsing(f"http://{edge['TOPTEN_EDGE_OPS_ADDRESS']}") as ops:
            assert (await ops.request("GET", "/startedz")).status == 200
            assert (await ops.request("GET", "/readyz")).status == 503, "a player would not be served"


async def test_a_field_whose_service_is_unavailable_is_null_beside_the_others(stack: RunningStack) -> None:
    player = stack.endpoints["players"][0]
    async with GraphqlClient(endpoints(stack).graphql) as client:
        token = await client.login(player["username"], player["password"])
    with second_instance(stack, "edge", wait="livez", UPSTREAM_SCORE="127.0.0.1:1") as edge:
        async with browsing(f"http://{edge['TOPTEN_EDGE_HTTP_ADDRESS']}") as web:
            answer = await web.graphql("{ me { username score } quizzes { totalCount } }", token=token)
    assert answer.body["data"]["me"] == {"username": player["username"], "score": None}
    assert answer.body["data"]["quizzes"]["totalCount"] >= 6
    assert answer.reason == "UNAVAILABLE"


async def test_only_configured_origins_are_allowed(stack: RunningStack) -> None:
    friend: dict[str, Any] = {"Origin": "https://friend.example"}
    with second_instance(stack, "edge", EDGE_ALLOWED_ORIGINS="https://friend.example") as edge:
        async with browsing(f"http://{edge['TOPTEN_EDGE_HTTP_ADDRESS']}") as web:
            preflight = await web.request("OPTIONS", "/graphql", headers=friend)
            assert preflight.headers["Access-Control-Allow-Origin"] == "https://friend.example"
            assert "authorization" in preflight.headers["Access-Control-Allow-Headers"]
            assert "Access-Control-Allow-Credentials" not in preflight.headers
            answer = await web.graphql(TYPENAME, headers=friend)
            assert answer.headers["Access-Control-Allow-Origin"] == "https://friend.example"
            assert answer.headers["Vary"] == "Origin"
            foreign = await web.request("OPTIONS", "/graphql", headers={"Origin": "https://foe.example"})
            assert (foreign.status, foreign.body["code"]) == (403, "PERMISSION_DENIED")
            assert "https://foe.example" in foreign.body["detail"]
            assert "TOPTEN_EDGE_ALLOWED_ORIGINS" in foreign.body["detail"]
            assert "Access-Control-Allow-Origin" not in foreign.headers
            assert "Access-Control-Allow-Methods" not in foreign.headers


async def test_a_page_of_localhost_may_call_a_development_system(web: Web) -> None:
    for path in ("/graphql", "/api/v1/leaderboard/stream"):
        origin = {"Origin": "http://localhost:5173"}
        preflight = await web.request("OPTIONS", path, headers=origin)
        assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (204, origin["Origin"])
        assert "authorization" in preflight.headers["Access-Control-Allow-Headers"]
        foreign = await web.request("GET", path, headers={"Origin": "https://foe.example"})
        assert "Access-Control-Allow-Origin" not in foreign.headers


async def test_a_browser_at_the_address_of_graphql_gets_the_explorer(web: Web) -> None:
    page = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    answer = await web.request("GET", "/graphql", headers=page)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    asked = await web.request("GET", "/graphql?query={__typename}", headers=page)
    assert asked.body == {"data": {"__typename": "Query"}}


async def test_without_the_explorer_the_schema_is_not_public(stack: RunningStack) -> None:
    with second_instance(stack, "edge", EDGE_EXPLORER="false") as edge:
        async with browsing(f"http://{edge['TOPTEN_EDGE_HTTP_ADDRESS']}") as web:
            for path in ("/graphql", "/graphql/schema.graphql", "/graphql/explorer/explorer.js"):
                answer = await web.request("GET", path, headers={"Accept": "text/html,*/*;q=0.8"})
                assert answer.status in (400, 404), path
            answer = await web.graphql("{ __schema { description } }")
            assert answer.reason == "INVALID_ARGUMENT"


async def test_the_sdl_is_served_where_introspection_is_on(web: Web) -> None:
    async with web.session.get(f"{web.http}/graphql/schema.graphql") as answer:
        assert answer.status == 200
        assert await answer.text() == SDL_PATH.read_text()


async def test_production_hides_the_schema_and_marks_cookies_secure(stack: RunningStack) -> None:
    with second_instance(stack, "edge", ENVIRONMENT="production") as edge:
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
            assert login.cookies.keys() == PATHS.keys()
            assert login.headers["Strict-Transport-Security"]
