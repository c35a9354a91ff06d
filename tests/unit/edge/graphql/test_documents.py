"""Documents by text and by digest: one cache, what is taught, what is trusted, and that neither is the other."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from redis.asyncio import Redis

from edge.config import EdgeConfig
from edge.graphql.execution import shared_texts
from edge.graphql.execution.cost import Limits
from edge.graphql.execution.documents import Documents, open_documents, read_manifest
from edge.graphql.execution.prepared import Operation, prepare
from edge.graphql.execution.requests import GraphQLRequest
from edge.graphql.execution.shared_texts import TEXTS, USES, SharedTexts, digest_of
from edge.graphql.schema import executable_schema
from edge.http.page import FOLDER, PAGE_DOCUMENTS
from services.runtime.config.settings import RedisConfig
from services.runtime.errors import ServiceError
from services.runtime.stores.redis import open_redis
from tests.contract.page_documents import CLIENT, CLIENT_DOCUMENTS, documents_of, manifest
from tests.servers import free_port, running, unique

SCHEMA = executable_schema()
LOGIN = '{username: "a", password: "b"}'
CLOSE = '{flagId: "a", note: "b"}'


def by_digest(text: str) -> GraphQLRequest:
    return GraphQLRequest(digest=digest_of(text))


def taught(text: str) -> GraphQLRequest:
    return GraphQLRequest(text, digest_of(text))


def document() -> str:
    return f"{{{unique('a')}:__typename}}"


def documents(redis: Redis | None = None, trusted: Mapping[str, str] | None = None) -> Documents:
    shared = None if redis is None else SharedTexts(redis)
    return Documents(SCHEMA, Limits(), introspection=True, shared=shared, trusted=trusted)


async def served(edge: Documents, request: GraphQLRequest) -> str:
    """The digest of the document that is executed, once the edge has shared what it was taught."""
    prepared = await edge.get(request)
    await edge.share(request, prepared)
    return prepared.digest


async def code_of(edge: Documents, request: GraphQLRequest) -> str:
    with pytest.raises(ServiceError) as refused:
        await edge.get(request)
    return refused.value.metadata.get("code", refused.value.reason)


def operation(text: str) -> Operation:
    return prepare(text, "", SCHEMA, Limits(), introspection=True).operation(None)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with open_redis(RedisConfig(url=redis_url), "test") as client:
        await client.delete(TEXTS, USES)
        yield client


async def test_text_and_digest_share_one_prepared_document(redis: Redis) -> None:
    text = document()
    for edge in (documents(redis), documents(trusted={digest_of(text): text})):
        prepared = await edge.get(GraphQLRequest(text))
        assert await edge.get(taught(text)) is prepared
        assert await edge.get(by_digest(text)) is prepared


async def test_a_prepared_document_is_evicted_when_the_cache_is_full() -> None:
    edge = documents()
    first = await edge.get(GraphQLRequest("{me{userId}}"))
    for number in range(40):
        await edge.get(GraphQLRequest(f"{{me{{userId}}}}#{number}" + "x" * 8000))
    assert await edge.get(GraphQLRequest("{me{userId}}")) is not first


async def test_where_any_text_is_executed_no_digest_is_known() -> None:
    text, edge = document(), documents()
    assert await served(edge, taught(text)) == digest_of(text)
    assert await code_of(edge, by_digest(text)) == "PERSISTED_QUERY_NOT_SUPPORTED"


async def test_what_one_edge_was_taught_all_of_them_know(redis: Redis) -> None:
    one, two, text = documents(redis), documents(redis), document()
    assert await code_of(one, by_digest(text)) == "PERSISTED_QUERY_NOT_FOUND"
    await served(one, GraphQLRequest(text))
    assert await code_of(two, by_digest(text)) == "PERSISTED_QUERY_NOT_FOUND", "nothing was taught"
    await served(one, taught(text))
    for edge in (one, two, documents(redis)):
        assert await served(edge, by_digest(text)) == digest_of(text)
    assert 0 < await redis.ttl(TEXTS) <= shared_texts.LIFETIME_SECONDS


async def test_nothing_is_learned_under_a_digest_of_another_text(redis: Redis) -> None:
    edge, text, other = documents(redis), document(), document()
    assert await code_of(edge, GraphQLRequest(text, digest_of(other))) == "INVALID_ARGUMENT"
    # Neither if it is in Redis: others may write there.
    await redis.hset(TEXTS, digest_of(other), text)
    assert await code_of(edge, by_digest(other)) == "PERSISTED_QUERY_NOT_FOUND"


async def test_a_text_without_a_digest_and_a_long_one_are_not_shared(redis: Redis) -> None:
    edge, long = documents(redis), "{__typename}" + " " * shared_texts.MAX_TEXT_BYTES
    await served(edge, GraphQLRequest(document()))
    await served(edge, taught(long))
    assert await redis.hlen(TEXTS) == 0
    assert await code_of(edge, by_digest(long)) == "PERSISTED_QUERY_NOT_FOUND"


async def test_shared_texts_are_bounded_and_the_least_recently_used_go(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_texts, "MAX_TEXTS", 3)
    edge, texts = documents(redis), [document() for _ in range(4)]
    for age, text in enumerate(texts[:3]):
        await served(edge, taught(text))
        await redis.zincrby(USES, age - 10, digest_of(text))
    assert await served(documents(redis), by_digest(texts[0])) == digest_of(texts[0])
    await served(edge, taught(texts[3]))
    kept = set(await redis.hkeys(TEXTS))
    assert kept == {digest_of(texts[index]).encode() for index in (0, 2, 3)}


async def test_a_text_that_was_not_used_for_a_day_goes(redis: Redis) -> None:
    edge, old, new = documents(redis), document(), document()
    await served(edge, taught(old))
    await redis.zincrby(USES, -shared_texts.LIFETIME_SECONDS, digest_of(old))
    await served(edge, taught(new))
    assert await redis.hkeys(TEXTS) == [digest_of(new).encode()]
    assert await redis.zcard(USES) == 1


async def test_without_redis_an_edge_knows_what_it_was_taught_itself() -> None:
    config = EdgeConfig(documents="apq", redis=RedisConfig(url=f"redis://127.0.0.1:{free_port()}/0"))
    async with open_documents(SCHEMA, config) as edge:
        text = document()
        assert await code_of(edge, by_digest(text)) == "PERSISTED_QUERY_NOT_FOUND"
        await served(edge, taught(text))
        assert await served(edge, by_digest(text)) == digest_of(text)


async def test_a_redis_that_goes_away_is_used_again_when_it_is_back() -> None:
    async with running("redis") as server:
        config = EdgeConfig(documents="apq", redis=RedisConfig(url=server.url))
        async with open_documents(SCHEMA, config) as edge:
            server.kill()
            assert await code_of(edge, by_digest(document())) == "PERSISTED_QUERY_NOT_FOUND"
            await server.start()
            text = document()
            await served(edge, taught(text))
            async with open_redis(RedisConfig(url=server.url), "test") as client:
                assert await client.hget(TEXTS, digest_of(text)) == text.encode()


async def test_only_a_request_that_asks_redis_is_a_lookup(redis: Redis) -> None:
    one, two, text = documents(redis), documents(redis), document()
    await served(one, taught(text))
    assert [edge.needs_lookup(by_digest(text)) for edge in (one, two)] == [False, True]
    assert not two.needs_lookup(taught(text))
    assert await served(two, by_digest(text)) == digest_of(text)
    assert not two.needs_lookup(by_digest(text))
    assert not documents().needs_lookup(by_digest(text))


async def test_only_trusted_documents_are_executed_and_none_is_learned() -> None:
    known, unknown = document(), document()
    edge = documents(trusted={digest_of(known): known})
    for request in (by_digest(known), GraphQLRequest(known), taught(known)):
        assert await served(edge, request) == digest_of(known)
    for request in (
        GraphQLRequest(unknown),
        by_digest(unknown),
        taught(unknown),
        GraphQLRequest(unknown, digest_of(known)),
        GraphQLRequest(known, digest_of(unknown)),
        GraphQLRequest(known + " "),
    ):
        assert await code_of(edge, request) == "QUERY_NOT_IN_SAFELIST"


@pytest.mark.parametrize(
    ("text", "is_same"),
    [
        ("{ getLeaderboard { rank username } }", True),
        ("query Q($n: Int!) { a: getLeaderboard(limit: $n) { rank } b: getLeaderboard { score } }", True),
        ("{ getLeaderboard { rank user { username } } }", False),
        ("{ getLeaderboard { rank } me { username } }", False),
        ("{ getLeaderboard { rank } __typename }", False),
        ("{ getLeaderboard { ...F } } fragment F on LeaderboardEntry { rank }", False),
        ("{ ... on Query { getLeaderboard { rank } } }", False),
        ("query ($x: Boolean!) { getLeaderboard { rank @include(if: $x) } }", False),
        ("mutation { logout }", False),
    ],
)
def test_heads_of_boards_alone_are_the_same_for_all_callers(text: str, is_same: bool) -> None:
    assert (operation(text).readers is not None) is is_same


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("{ me { rank } }", {"query": 1}),
        ("{ a: me { rank } b: me { rank } ...F } fragment F on Query { boards { key } }", {"query": 3}),
        (f"mutation {{ a: login(input: {LOGIN}) {{ expiresIn }} b: login(input: {LOGIN}) {{ expiresIn }} }}", {"login": 2}),
        ('mutation { ... on Mutation { refreshToken { expiresIn } } logout deleteMyAccount(password: "a") }',
         {"refresh": 2, "password": 1}),
        (f"mutation {{ closeFlag(input: {CLOSE}) {{ note }} updateProfile(input: {{}}) {{ userId }} }}", {"write": 2}),
        ("{ me { rank } exportMyData { data } }", {"query": 1, "export": 1}),
        ("{ __typename }", {"query": 1}),
    ],
)  # fmt: skip
def test_each_root_field_counts_for_its_declared_rate(text: str, rates: dict[str, int]) -> None:
    assert operation(text).rates == rates


def test_an_operation_is_named_unless_it_is_the_only_one() -> None:
    prepared = prepare("query A { me { rank } } mutation B { logout }", "", SCHEMA, Limits(), introspection=True)
    assert [prepared.operation(name).is_mutation for name in ("A", "B")] == [False, True]
    for name in (None, "C"):
        with pytest.raises(ServiceError):
            prepared.operation(name)
    with pytest.raises(ServiceError):
        prepare("{ me { rank } }", "", SCHEMA, Limits(), introspection=True).operation("A")


def test_a_manifest_is_apollo_s_or_an_object_from_digest_to_text(tmp_path: Path) -> None:
    path, text = tmp_path / "manifest.json", document()
    apollo = {"format": "apollo-persisted-query-manifest", "version": 1}
    for content in (
        {digest_of(text): text},
        {f"sha256:{digest_of(text)}": text},
        apollo | {"operations": [{"id": digest_of(text), "name": "A", "type": "query", "body": text}]},
    ):
        path.write_text(json.dumps(content))
        assert read_manifest(path) == {digest_of(text): text}


@pytest.mark.parametrize(
    "content",
    ["", "7", "[]", '{"a": "{me{userId}}"}', '{"%s": "{me{userId}}"}' % ("0" * 64), '{"operations": [{"id": "a"}]}',
     '{"operations": 7}', '{"%s": 7}' % ("0" * 64)],
)  # fmt: skip
def test_an_invalid_manifest_and_a_wrong_digest_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json"):
        read_manifest(path)
    with pytest.raises(ValueError, match="is not a manifest"):
        read_manifest(tmp_path / "none")


@pytest.mark.parametrize(
    ("path", "folder"), [(PAGE_DOCUMENTS, FOLDER), (CLIENT_DOCUMENTS, CLIENT)], ids=["page", "client"]
)
def test_the_manifest_of_the_page_and_its_client_has_their_documents_and_no_others(path: Path, folder: Path) -> None:
    assert set(read_manifest(path).values()) == documents_of(folder)
    assert path.read_text() == manifest(folder), "run `make gen`"
