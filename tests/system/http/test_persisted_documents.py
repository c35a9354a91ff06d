"""Documents by digest over HTTP: Apollo's persisted queries, and an operator's trusted documents."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.graphql.execution.shared_texts import digest_of
from tests.replicas import second_instance
from tests.servers import HOST, RunningStack, free_port, unique
from tests.system.graphql import LOGIN, Answer, Web, browsing

GRAPHQL_JSON = "application/graphql-response+json"


@asynccontextmanager
async def edge(stack: RunningStack, **settings: str) -> AsyncIterator[Web]:
    with second_instance(stack, "edge", **settings) as environ:
        async with browsing(f"http://{environ['TOPTEN_EDGE_HTTP_ADDRESS']}") as web:
            yield web


async def send(web: Web, body: object, accept: str = "application/json") -> Answer:
    return await web.request("POST", "/graphql", json=body, headers={"Accept": accept})


def code(answer: Answer) -> tuple[int, str, str]:
    """Status, and message and code of the first error."""
    error = answer.body["errors"][0]
    assert error["extensions"]["requestId"] == answer.headers["X-Request-Id"]
    return answer.status, error["message"], error["extensions"]["code"]


async def test_a_persisted_document_is_sent_once_and_then_named(stack: RunningStack) -> None:
    text = f"query ($skip: Boolean!) {{ {unique('a')}: __typename @skip(if: $skip) }}"
    extensions = {"persistedQuery": {"version": 1, "sha256Hash": digest_of(text)}}
    named = {"extensions": extensions, "variables": {"skip": True}}
    address = {"extensions": json.dumps(extensions), "variables": json.dumps({"skip": True})}
    async with edge(stack, EDGE_DOCUMENTS="apq") as one, edge(stack, EDGE_DOCUMENTS="apq") as two:
        for accept, status in (("application/json", 200), (GRAPHQL_JSON, 400)):
            assert code(await send(one, named, accept)) == (
                status,
                "PersistedQueryNotFound",
                "PERSISTED_QUERY_NOT_FOUND",
            )
        other = await send(one, named | {"query": text + " "})
        assert other.body["errors"][0]["message"] == "provided sha does not match query"
        invalid = "{ nothing }"
        wrong = {"persistedQuery": {"version": 1, "sha256Hash": digest_of(invalid)}}
        assert (await send(one, {"query": invalid, "extensions": wrong})).reason == "INVALID_ARGUMENT"
        assert code(await send(one, {"extensions": wrong}))[2] == "PERSISTED_QUERY_NOT_FOUND", (
            "an invalid document is not learned"
        )
        assert (await send(one, named | {"query": text})).body == {"data": {}}
        for web in (one, two):
            assert (await send(web, named)).body == {"data": {}}
            assert (await web.request("GET", "/graphql", params=address)).body == {"data": {}}
        assert (await send(two, {"documentId": f"sha256:{digest_of(text)}", "variables": {"skip": True}})).status == 200


@pytest.mark.parametrize(
    "names",
    [
        {"documentId": 7},
        {"documentId": "a"},
        {"documentId": "0" * 64},
        {"documentId": "sha256:" + "G" * 64},
        {"extensions": {"persistedQuery": 7}},
        {"extensions": {"persistedQuery": {}}},
        {"extensions": {"persistedQuery": {"version": 2, "sha256Hash": "0" * 64}}},
        {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": ["0" * 64]}}},
    ],
)
async def test_an_invalid_digest_is_400(stack: RunningStack, names: dict[str, object]) -> None:
    async with browsing(stack.http) as web:
        answer = await send(web, names)
        assert (answer.status, answer.reason) == (400, "INVALID_ARGUMENT")


async def test_guessed_digests_are_rate_limited_before_redis_is_asked(stack: RunningStack) -> None:
    async with edge(stack, EDGE_DOCUMENTS="apq", EDGE_RATE_QUERY="-,3/h", EDGE_TRUSTED_PROXIES="127.0.0.1") as web:
        address = {"X-Forwarded-For": f"2001:db8:{secrets.token_hex(2)}::1"}
        answers = [
            await web.request(
                "POST", "/graphql", json={"documentId": f"sha256:{secrets.token_hex(32)}"}, headers=address
            )
            for _ in range(3)
        ]
    # The first counts twice, for the lookup and for the invalid document; then one is left, which the next lookup takes.
    assert [answer.status for answer in answers] == [200, 429, 429]


def test_an_unreadable_manifest_is_an_invalid_setting() -> None:
    environ = {**os.environ, "TOPTEN_EDGE_DOCUMENTS": "trusted", "TOPTEN_EDGE_TRUSTED_DOCUMENTS": "/nowhere/manifest"}
    environ["TOPTEN_EDGE_OPS_ADDRESS"] = f"{HOST}:{free_port()}"
    run = subprocess.run([sys.executable, "-m", "edge"], env=environ, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "TOPTEN_EDGE_TRUSTED_DOCUMENTS='/nowhere/manifest': /nowhere/manifest is not a manifest" in run.stderr
    assert "Traceback" not in run.stderr


async def test_where_any_document_is_executed_a_digest_alone_is_not_supported(stack: RunningStack) -> None:
    async with browsing(stack.http) as web:
        answer = await send(web, {"documentId": "sha256:" + "0" * 64})
        assert code(answer) == (200, "PersistedQueryNotSupported", "PERSISTED_QUERY_NOT_SUPPORTED")


async def test_only_trusted_documents_and_those_of_the_page_are_executed(stack: RunningStack, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({digest_of(LOGIN): LOGIN}))
    player = stack.endpoints["players"][0]
    account = {"input": {"username": player["username"], "password": player["password"]}}
    settings = {"EDGE_DOCUMENTS": "trusted", "EDGE_TRUSTED_DOCUMENTS": str(manifest)}
    async with edge(stack, **settings) as web:
        named = await send(web, {"documentId": f"sha256:{digest_of(LOGIN)}", "variables": account})
        token = named.body["data"]["login"]["accessToken"]
        page = await web.graphql("{ me { userId username country roles } }", token=token)
        assert page.body["data"]["me"]["username"] == player["username"]
        foreign = "{ me { username } }"
        teaching = {"persistedQuery": {"version": 1, "sha256Hash": digest_of(foreign)}}
        for body in ({"query": foreign}, {"query": foreign, "extensions": teaching}, {"extensions": teaching}):
            answer = await send(web, body)
            assert answer.reason == "PERMISSION_DENIED"
            assert code(answer)[2] == "QUERY_NOT_IN_SAFELIST"
