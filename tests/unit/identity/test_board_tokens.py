"""Board tokens in the store: how many there are, how long they last, and what an erasure leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import jwt
import pytest
import pytest_asyncio

from services.identity.board_tokens.board_token_store import MAX_TOKENS, BoardToken, BoardTokenStore
from services.identity.board_tokens.service import MAX_LIFETIME, BoardTokens
from services.identity.erasure.erasure_store import ErasureStore
from services.identity.tokens import TokenIssuer
from services.runtime.auth.claims import Kind, own_claims
from services.runtime.config.settings import MongoConfig
from services.runtime.errors import Reason, ServiceError
from services.runtime.stores.mongo import Mongo, open_mongo
from tests.factories import signing_key
from tests.servers import unique

TOKENS = TokenIssuer(signing_key(), issuer="i", audience="a", access_ttl=timedelta(minutes=5))
START = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is set."""

    now = START


@pytest_asyncio.fixture
async def mongo(mongo_url: str) -> AsyncIterator[Mongo]:
    async with open_mongo(MongoConfig(url=mongo_url, database=unique("t")), "identity") as mongo:
        yield mongo
        await mongo.client.drop_database(mongo.database.name)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(mongo: Mongo, clock: Clock) -> BoardTokens:
    return BoardTokens(BoardTokenStore(mongo.database), TOKENS, now=lambda: clock.now)


async def test_a_token_lives_until_it_expires_and_is_then_neither_listed_nor_revoked(
    tokens: BoardTokens, clock: Clock
) -> None:
    signed, token = await tokens.issue("weekly", START + timedelta(hours=1), actor="mod")
    claims = own_claims(jwt.decode(signed, options={"verify_signature": False}), "board")
    assert (claims.board, claims.user_id, claims.roles, claims.expires_at) == (
        "weekly", "", frozenset(), token.expires_at.timestamp(),
    )  # fmt: skip
    assert await tokens.all() == [token]
    assert await tokens.live_sessions([claims.session_id, "board:another", "session"]) == {claims.session_id}
    clock.now += timedelta(hours=1)
    assert (await tokens.all(), await tokens.live_sessions([claims.session_id])) == ([], set())
    assert not await tokens.revoke(token.token_id, actor="mod")


@pytest.mark.parametrize("after", [timedelta(), timedelta(seconds=-1), MAX_LIFETIME + timedelta(milliseconds=1)])
async def test_a_lifetime_is_bounded(tokens: BoardTokens, after: timedelta) -> None:
    with pytest.raises(ServiceError, match="must be in the future and at most 366 days ahead") as refused:
        await tokens.issue("all", START + after, actor="mod")
    assert (refused.value.reason, refused.value.violations[0][0]) == (Reason.INVALID_ARGUMENT, "expires_at")
    assert await tokens.all() == []
    assert (await tokens.issue("all", None, actor="mod"))[1].expires_at == START + timedelta(days=30)


async def test_the_number_of_tokens_is_bounded_and_expired_ones_do_not_count(
    tokens: BoardTokens, mongo: Mongo, clock: Clock
) -> None:
    documents = [
        {
            "_id": str(each),
            "board": "all",
            "issued_by": "mod",
            "issued_at": START,
            "expires_at": START + timedelta(days=1),
        }
        for each in range(MAX_TOKENS)
    ]
    await mongo.database["board_tokens"].insert_many(documents)
    with pytest.raises(ServiceError, match="Limit reached: 1000 board tokens") as refused:
        await tokens.issue("all", None, actor="mod")
    assert refused.value.reason is Reason.RATE_LIMITED
    assert await tokens.revoke("7", actor="mod")
    await tokens.issue("all", None, actor="mod")
    assert len(await tokens.all()) == MAX_TOKENS
    clock.now += timedelta(days=1)
    await tokens.issue("all", None, actor="mod")


async def test_an_erased_issuer_is_a_pseudonym_and_the_token_stays(tokens: BoardTokens, mongo: Mongo) -> None:
    _, token = await tokens.issue("all", None, actor="mod")
    await ErasureStore(mongo.database).finish("mod", "pseudonym")
    assert [each.issued_by for each in await tokens.all()] == ["pseudonym"]
    await tokens.revoke(token.token_id, actor="admin")
    log = [(each["kind"], each["actor"]) async for each in mongo.database["board_token_changes"].find()]
    assert log == [("ISSUED", "pseudonym"), ("REVOKED", "admin")]


@pytest.mark.parametrize(("kind", "board"), [("board", ""), ("access", "all"), ("stream", "all")])
def test_a_board_token_names_a_board_and_no_other_token_does(kind: Kind, board: str) -> None:
    with pytest.raises(ValueError, match="names a board"):
        own_claims({"sub": "x", "jti": "x", "exp": 1, "board": board}, kind)


def test_what_is_stored_has_no_token() -> None:
    assert set(BoardToken.__slots__) == {"token_id", "board", "issued_by", "issued_at", "expires_at"}
