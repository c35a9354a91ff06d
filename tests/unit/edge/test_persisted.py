"""Documents by digest: what is learnt, what is trusted, and that neither is the other."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from graphql import GraphQLError, parse
from redis.asyncio import Redis

from edge.assets import FOLDER, PAGE_DOCUMENTS
from edge.graphql import persisted
from edge.graphql.persisted import AnyText, LearntTexts, Texts, TrustedTexts, digest_of, open_texts, read_manifest
from edge.graphql.requests import Operation
from services.runtime.errors import ServiceError
from services.runtime.redis_client import open_redis
from services.runtime.settings import RedisConfig
from tests.servers import free_port, running, unique


def asked(query: str = "", digest: str = "") -> Operation:
    return Operation(query, digest, None, None, may_mutate=True)


def document() -> str:
    return f"{{{unique('a')}:__typename}}"


async def code_of(texts: Texts, operation: Operation) -> str:
    with pytest.raises(ServiceError) as refused:
        await texts.text_of(operation)
    return refused.value.metadata.get("code", refused.value.reason)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with open_redis(RedisConfig(url=redis_url), "test") as client:
        await client.delete(persisted.TEXTS, persisted.USES)
        yield client


async def test_where_any_text_runs_no_digest_is_known() -> None:
    text = document()
    assert await AnyText().text_of(asked(text, digest_of(text))) == text
    assert await code_of(AnyText(), asked(digest=digest_of(text))) == "PERSISTED_QUERY_NOT_SUPPORTED"


async def test_what_one_edge_was_taught_all_of_them_know(redis: Redis) -> None:
    one, two, text = LearntTexts(redis), LearntTexts(redis), document()
    assert await code_of(one, asked(digest=digest_of(text))) == "PERSISTED_QUERY_NOT_FOUND"
    await one.learn(asked(text, digest_of(text)))
    for edge in (one, two, LearntTexts(redis)):
        assert await edge.text_of(asked(digest=digest_of(text))) == text
    assert 0 < await redis.ttl(persisted.TEXTS) <= persisted.SHARED_SECONDS


async def test_nothing_is_learnt_under_a_digest_that_is_not_its_own(redis: Redis) -> None:
    texts, text, other = LearntTexts(redis), document(), document()
    assert await code_of(texts, asked(text, digest_of(other))) == "INVALID_ARGUMENT"
    # Also if it stands in Redis: others may write there.
    await redis.hset(persisted.TEXTS, digest_of(other), text)
    assert await code_of(texts, asked(digest=digest_of(other))) == "PERSISTED_QUERY_NOT_FOUND"


async def test_a_text_without_a_digest_and_one_that_is_long_are_not_learnt(redis: Redis) -> None:
    texts, long = LearntTexts(redis), "{__typename}" + " " * persisted.MAX_TEXT
    await texts.learn(asked(document()))
    await texts.learn(asked(long, digest_of(long)))
    assert await redis.hlen(persisted.TEXTS) == 0
    assert await code_of(texts, asked(digest=digest_of(long))) == "PERSISTED_QUERY_NOT_FOUND"


async def test_only_so_many_are_kept_and_what_is_used_stays(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persisted, "MAX_SHARED", 3)
    texts, documents = LearntTexts(redis), [document() for _ in range(4)]
    for age, text in enumerate(documents[:3]):
        await texts.learn(asked(text, digest_of(text)))
        await redis.zincrby(persisted.USES, age - 10, digest_of(text))
    assert await LearntTexts(redis).text_of(asked(digest=digest_of(documents[0]))) == documents[0]
    await texts.learn(asked(documents[3], digest_of(documents[3])))
    kept = set(await redis.hkeys(persisted.TEXTS))
    assert kept == {digest_of(documents[index]).encode() for index in (0, 2, 3)}


async def test_what_was_not_used_for_a_day_is_forgotten(redis: Redis) -> None:
    texts, old, new = LearntTexts(redis), document(), document()
    await texts.learn(asked(old, digest_of(old)))
    await redis.zincrby(persisted.USES, -persisted.SHARED_SECONDS, digest_of(old))
    await texts.learn(asked(new, digest_of(new)))
    assert await redis.hkeys(persisted.TEXTS) == [digest_of(new).encode()]
    assert await redis.zcard(persisted.USES) == 1


async def test_without_redis_an_edge_knows_what_it_was_taught_itself() -> None:
    config = RedisConfig(url=f"redis://127.0.0.1:{free_port()}/0")
    async with open_texts("apq", "", PAGE_DOCUMENTS, config) as texts:
        text = document()
        assert await code_of(texts, asked(digest=digest_of(text))) == "PERSISTED_QUERY_NOT_FOUND"
        await texts.learn(asked(text, digest_of(text)))
        assert await texts.text_of(asked(digest=digest_of(text))) == text


async def test_a_redis_that_goes_away_is_used_again_when_it_is_back() -> None:
    async with running("redis") as server, open_texts("apq", "", PAGE_DOCUMENTS, RedisConfig(url=server.url)) as texts:
        server.kill()
        assert await code_of(texts, asked(digest=digest_of(document()))) == "PERSISTED_QUERY_NOT_FOUND"
        await server.start()
        text = document()
        await texts.learn(asked(text, digest_of(text)))
        async with open_redis(RedisConfig(url=server.url), "test") as client:
            assert await client.hget(persisted.TEXTS, digest_of(text)) == text.encode()


async def test_only_what_redis_would_be_asked_about_is_counted_before(redis: Redis) -> None:
    one, two, text = LearntTexts(redis), LearntTexts(redis), document()
    await one.learn(asked(text, digest_of(text)))
    named = asked(digest=digest_of(text))
    assert [texts.is_far(named) for texts in (one, two)] == [False, True]
    assert not two.is_far(asked(text, digest_of(text)))
    assert await two.text_of(named) == text
    assert not two.is_far(named)


async def test_only_trusted_documents_run_and_nothing_is_learnt() -> None:
    known, unknown = document(), document()
    texts = TrustedTexts({digest_of(known): known})
    for operation in (asked(digest=digest_of(known)), asked(known), asked(known, digest_of(known))):
        assert await texts.text_of(operation) == known
    await texts.learn(asked(unknown, digest_of(unknown)))
    for operation in (
        asked(unknown),
        asked(digest=digest_of(unknown)),
        asked(unknown, digest_of(unknown)),
        asked(unknown, digest_of(known)),
        asked(known + " "),
    ):
        assert await code_of(texts, operation) == "QUERY_NOT_IN_SAFELIST"


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
def test_a_manifest_that_is_none_or_lies_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json"):
        read_manifest(path)
    with pytest.raises(ValueError, match="is no manifest"):
        read_manifest(tmp_path / "none")


def test_the_page_s_own_documents_are_in_its_manifest_and_no_others() -> None:
    assert set(read_manifest(PAGE_DOCUMENTS).values()) == page_documents()


def page_documents() -> set[str]:
    """Every string in the page's scripts that is a GraphQL document."""
    found = set()
    for script in FOLDER.glob("*.js"):
        code = script.read_text()
        constants = dict(re.findall(r'^const (\w+) = "([^"]*)";$', code, re.MULTILINE))
        for text in re.findall(r'"([^"\n]*)"|`([^`]*)`', code):
            filled = "".join(text)
            for name, value in constants.items():
                filled = filled.replace(f"${{{name}}}", value)
            try:
                parse(filled)
            except GraphQLError:
                continue
            found.add(filled)
    return found
