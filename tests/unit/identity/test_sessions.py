"""Sessions: what ends all sessions of an account also ends those that are being opened."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from datetime import timedelta
from typing import Any

import jwt
import pytest
import pytest_asyncio
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from services.identity.accounts import Account, Sanction, SetBy
from services.identity.moderation.change_store import ChangeStore
from services.identity.moderation.changes import Change, with_sanction, without_sanctions
from services.identity.service import IdentityService, OpenSession
from services.identity.store import IdentityStore, SessionState
from services.runtime.auth.claims import Claims, own_claims
from services.runtime.clock import utc_now
from services.runtime.config.settings import MongoConfig
from services.runtime.errors import Reason, ServiceError
from services.runtime.stores.mongo import open_mongo
from services.streams import PLAYER_BLOCKED, PLAYER_UNBLOCKED
from tests.deadline import deadline
from tests.servers import unique
from tests.unit.identity.system import PASSWORDS, System

OLD, NEW = "correct horse battery", "another horse battery"


class PausingStore(IdentityStore):
    """Pauses a change of a password between the new digest and the end of the sessions."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        super().__init__(database)
        self.paused, self.resume = asyncio.Event(), asyncio.Event()

    async def end_earlier_sessions(self, user_id: str, epoch: int, transaction: AsyncClientSession) -> None:
        self.paused.set()
        await self.resume.wait()
        await super().end_earlier_sessions(user_id, epoch, transaction)


class LateStore(IdentityStore):
    """Lets a password change between its reads of a session and of the account."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], changing: Callable[[], Awaitable[None]]) -> None:
        super().__init__(database)
        self._changing = changing

    async def account(self, user_id: str) -> Account | None:
        await self._change_once()
        return await super().account(user_id)

    async def session_epochs(self, user_ids: Collection[str]) -> dict[str, int]:
        await self._change_once()
        return await super().session_epochs(user_ids)

    async def _change_once(self) -> None:
        changing, self._changing = self._changing, no_change
        await changing()


async def no_change() -> None:
    """Change nothing."""


@pytest_asyncio.fixture
async def database(mongo_url: str) -> AsyncIterator[AsyncDatabase[dict[str, Any]]]:
    async with open_mongo(MongoConfig(url=mongo_url, database=unique("t")), "identity") as mongo:
        await IdentityStore(mongo.database).prepare()
        yield mongo.database
        await mongo.client.drop_database(mongo.database.name)


@pytest.fixture
def store(database: AsyncDatabase[dict[str, Any]]) -> IdentityStore:
    return IdentityStore(database)


def service(store: IdentityStore) -> IdentityService:
    return System(store._users.database, store).service


def holder(session: OpenSession) -> Claims:
    """The claims of a session's access token."""
    payload = jwt.decode(session.access_token, options={"verify_signature": False})
    return own_claims(payload, "access")


async def assert_ended(store: IdentityStore, session: OpenSession) -> None:
    identity = service(store)
    assert await identity.ended_sessions([session.session_id]) == [session.session_id]
    for call in (identity.stream_token(holder(session)), identity.refresh(session.refresh_token)):
        with pytest.raises(ServiceError) as refused:
            await call
        assert refused.value.reason is Reason.UNAUTHENTICATED
    assert not await identity.logout(session.refresh_token)


async def assert_live(store: IdentityStore, session: OpenSession) -> None:
    assert await service(store).ended_sessions([session.session_id]) == []
    await service(store).stream_token(holder(session))
    await service(store).refresh(session.refresh_token)


async def block_and_unblock(database: AsyncDatabase[dict[str, Any]], user_id: str) -> None:
    changes, now = ChangeStore(database), utc_now()
    sanction = Sanction("e1", "", "", SetBy.MODERATOR, now, None)
    block, unblock = (
        Change("e1", user_id, PLAYER_BLOCKED, now, "", ""),
        Change("e2", user_id, PLAYER_UNBLOCKED, now, "", ""),
    )
    await changes.apply(block, lambda account: with_sanction(account, sanction), now)
    await changes.apply(unblock, lambda account: without_sanctions(account, {"e1"}, now), now)


async def open_late(store: IdentityStore, account: Account) -> OpenSession:
    """A login that read the account before something ended its sessions, and records its session after that."""
    return await service(store)._open(account)


async def test_new_password_ends_a_session_opened_while_it_is_being_changed(
    database: AsyncDatabase[dict[str, Any]], store: IdentityStore
) -> None:
    own = await service(store).register("ada", OLD, "")
    pausing = PausingStore(database)
    async with deadline("the new password"), asyncio.TaskGroup() as tasks:
        changing = service(pausing).change_password(own.account.user_id, own.session_id, OLD, NEW)
        tasks.create_task(changing)
        await pausing.paused.wait()
        # The deletion does not see this session, and the login does not see the new password.
        raced = await service(store).login("ada", OLD)
        pausing.resume.set()
    await assert_ended(store, raced)
    await assert_live(store, own)
    await assert_live(store, await service(store).login("ada", NEW))
    account = await store.account(own.account.user_id)
    assert account is not None
    assert raced.session_id not in {session.session_id for session in await store.sessions(account, 10)}


async def test_a_session_that_a_new_password_keeps_never_seems_to_have_ended(
    database: AsyncDatabase[dict[str, Any]], store: IdentityStore
) -> None:
    own = await service(store).register("ada", OLD, "")
    other = await service(store).login("ada", OLD)
    passwords = [OLD, NEW, OLD]

    async def change() -> None:
        current, new = passwords[0], passwords[1]
        await service(store).change_password(own.account.user_id, own.session_id, current, new)
        del passwords[0]

    late = service(LateStore(database, change))
    assert await late.ended_sessions([own.session_id, other.session_id]) == [other.session_id]
    assert (await LateStore(database, change).session(own.session_id)) is not None
    assert (await store.session(other.session_id)) is None


async def test_new_password_ends_a_session_opened_after_it(store: IdentityStore) -> None:
    own = await service(store).register("ada", OLD, "")
    await service(store).change_password(own.account.user_id, own.session_id, OLD, NEW)
    await assert_ended(store, await open_late(store, own.account))


async def test_block_ends_a_session_opened_after_it_even_when_it_is_over(
    database: AsyncDatabase[dict[str, Any]], store: IdentityStore
) -> None:
    own = await service(store).register("ada", OLD, "")
    await block_and_unblock(database, own.account.user_id)
    await assert_ended(store, own)
    await assert_ended(store, await open_late(store, own.account))
    await assert_live(store, await service(store).login("ada", OLD))


async def test_ended_session_is_not_kept_by_a_new_password(store: IdentityStore) -> None:
    own = await service(store).register("ada", OLD, "")
    await service(store).change_password(own.account.user_id, own.session_id, OLD, NEW)
    late = await open_late(store, own.account)
    await service(store).change_password(own.account.user_id, late.session_id, NEW, OLD)
    await assert_ended(store, late)
    await assert_ended(store, own)


async def test_session_of_an_older_version_is_live_until_the_first_new_password(
    database: AsyncDatabase[dict[str, Any]], store: IdentityStore
) -> None:
    own = await service(store).register("ada", OLD, "")
    other = await service(store).login("ada", OLD)
    await database["sessions"].update_many({}, {"$unset": {"epoch": ""}})
    await service(store).change_password(own.account.user_id, own.session_id, OLD, NEW)
    await assert_live(store, own)
    await assert_ended(store, other)


async def test_expired_session_is_not_live(store: IdentityStore) -> None:
    own = await service(store).register("ada", OLD, "")
    now = utc_now()
    expired = SessionState("expired", own.account.user_id, 0, "digest", None, b"", now, now - timedelta(seconds=1))
    await store.add_session(expired)
    assert await store.live_sessions(["expired", own.session_id], now) == {own.session_id}


async def test_sign_in_by_any_form_of_a_password_renews_a_digest_of_the_form_that_was_sent(
    database: AsyncDatabase[dict[str, Any]], store: IdentityStore
) -> None:
    composed = "mật khẩu của tôi"
    decomposed = unicodedata.normalize("NFD", composed)
    own = await service(store).register("ada", composed, "")
    await service(store).login("ada", decomposed)
    old = PASSWORDS._hasher.hash(decomposed)
    await database["users"].update_one({"_id": own.account.user_id}, {"$set": {"password_hash": old}})
    await service(store).login("ada", decomposed)
    await service(store).login("ada", composed)
    await service(store).change_password(own.account.user_id, own.session_id, decomposed, OLD)
    with pytest.raises(ServiceError) as refused:
        await service(store).change_password(own.account.user_id, own.session_id, OLD, "e\u0301" * 7)
    assert refused.value.violations[0][0] == "new_password"


@pytest.mark.parametrize("name", ["admin", "Top-Ten", "st.aff", "ＳＴＡＦＦ"])
async def test_nobody_registers_under_a_reserved_name(store: IdentityStore, name: str) -> None:
    with pytest.raises(ServiceError, match="This username is reserved") as refused:
        await service(store).register(name, OLD, "")
    assert (refused.value.reason, refused.value.metadata["field"]) == (Reason.INVALID_ARGUMENT, "username")
