"""Sanctions: kept separately, the strongest in force holds, each lifted by those who may."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from pymongo.asynchronous.database import AsyncDatabase
from topten.identity.v1.identity_events_pb2 import PlayerChangedEvent

from services.identity.accounts import Account, Sanction, SetBy
from services.identity.erasure.erasure_store import ErasureStore
from services.identity.moderation.change_store import ChangeStore
from services.identity.moderation.changes import MAX_SANCTIONS, with_sanction, without_sanctions
from services.identity.moderation.service import Moderation
from services.identity.store import IdentityStore
from services.runtime.config.settings import MongoConfig
from services.runtime.errors import Reason, ServiceError
from services.runtime.outbox.publishing import UnpublishedEvent
from services.runtime.stores.mongo import open_mongo
from tests.servers import unique

START = datetime.fromisoformat("2026-11-23T12:00:00+00:00")
MODERATOR, ADMIN, RULES = frozenset({"moderator"}), frozenset({"admin"}), frozenset({"service"})
USER = "0192f0c5-0000-7000-8000-000000000001"


class Published:
    """Takes the place of the outbox, and keeps what would be published."""

    lease = timedelta(seconds=5)
    recorded_on = "this data"

    def __init__(self) -> None:
        self.events: list[PlayerChangedEvent] = []

    def publish(self, event: UnpublishedEvent) -> None:
        self.events.append(PlayerChangedEvent.FromString(event.data))


@dataclass
class System:
    """The use cases on a real database, with a clock that only the test moves."""

    database: AsyncDatabase[dict[str, Any]]
    published: Published
    now: datetime = START

    def __post_init__(self) -> None:
        self.store = IdentityStore(self.database)
        self.changes = ChangeStore(self.database)
        self.moderation = Moderation(self.changes, self.published, now=lambda: self.now)  # type: ignore[arg-type]  # records

    async def block(self, reason: str, seconds: float | None, roles: frozenset[str] = MODERATOR) -> str:
        ends = None if seconds is None else self.now + timedelta(seconds=seconds)
        result = await self.moderation.block(USER, reason, ends, str(uuid.uuid4()), actor="someone", roles=roles)
        return result.sanction_ids[0]

    async def unblock(self, sanction_id: str = "", roles: frozenset[str] = MODERATOR) -> tuple[str, ...]:
        return (await self.moderation.unblock(USER, "why", sanction_id, actor="x", roles=roles)).sanction_ids

    async def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        await self.moderation.end_expired_sanctions()

    async def reason(self) -> str | None:
        account = await self.store.account(USER)
        assert account is not None
        block = account.block_at(self.now)
        return None if block is None else block.reason


@pytest_asyncio.fixture
async def system(mongo_url: str) -> AsyncIterator[System]:
    async with open_mongo(MongoConfig(url=mongo_url, database=unique("t")), "identity") as mongo:
        opened = System(mongo.database, Published())
        await opened.store.prepare()
        await opened.changes.prepare()
        await opened.store.add_account(Account(USER, "ada", "", frozenset({"player"}), "", START))
        yield opened
        await mongo.client.drop_database(mongo.database.name)


async def test_whether_a_player_may_act_is_told_as_their_account_has_it(system: System) -> None:
    async def standing() -> tuple[str, Sanction | None]:
        account = await system.store.account(USER)
        assert account is not None
        (found,) = (await system.store.standings([USER, "nobody"])).items()
        assert found == (USER, (account.country, account.block))
        return found[1]

    assert await standing() == ("", None)
    short = await system.block("short", 60)
    await system.block("long", 600, ADMIN)
    assert (await standing())[1] is not None
    await system.unblock(short)
    await standing()
    await system.pass_time(601)
    assert await standing() == ("", None)


async def test_short_block_does_not_end_a_permanent_one(system: System) -> None:
    await system.block("for good", None)
    await system.block("for a moment", 3)
    assert await system.reason() == "for good"
    await system.pass_time(4)
    assert await system.reason() == "for good"
    assert [event.event_type for event in system.published.events] == ["PLAYER_BLOCKED"]


async def test_rule_does_not_weaken_what_a_moderator_imposed(system: System) -> None:
    await system.block("a week", 7 * 86_400)
    await system.block("score_jump", 60, RULES)
    await system.pass_time(61)
    assert await system.reason() == "a week"
    await system.pass_time(7 * 86_400)
    assert await system.reason() is None
    assert [event.event_type for event in system.published.events] == ["PLAYER_BLOCKED", "PLAYER_UNBLOCKED"]


async def test_lifting_one_sanction_leaves_the_others(system: System) -> None:
    longest, shorter = await system.block("longest", 3600), await system.block("shorter", 60)
    assert await system.unblock(longest) == (longest,)
    assert await system.reason() == "shorter"
    versions = [(event.payload.blocked, event.payload.version) for event in system.published.events]
    assert versions == [(True, 1), (True, 2)], "the end of the block has changed"
    assert await system.unblock(longest) == ()
    assert await system.unblock(shorter) == (shorter,)
    assert await system.reason() is None


@pytest.mark.parametrize(
    ("roles", "lifted"),
    [(RULES, {"rule"}), (MODERATOR, {"rule", "moderator"}), (ADMIN, {"rule", "moderator", "admin"})],
)
async def test_caller_lifts_what_its_authority_allows(system: System, roles: frozenset[str], lifted: set[str]) -> None:
    names = {
        await system.block("rule", 60, RULES): "rule",
        await system.block("moderator", 90, MODERATOR): "moderator",
        await system.block("admin", 120, ADMIN): "admin",
    }
    assert {names[sanction] for sanction in await system.unblock(roles=roles)} == lifted
    assert await system.reason() == (None if "admin" in lifted else "admin")


async def test_moderator_is_refused_to_lift_an_admins_sanction(system: System) -> None:
    sanction = await system.block("by an admin", None, ADMIN)
    for sanction_id in ("", sanction):
        with pytest.raises(ServiceError) as refused:
            await system.unblock(sanction_id)
        assert refused.value.reason is Reason.PERMISSION_DENIED
    assert await system.reason() == "by an admin"


async def test_repeated_block_is_one_sanction(system: System) -> None:
    change_id = str(uuid.uuid4())
    for _ in range(2):
        await system.moderation.block(USER, "once", None, change_id, actor="m", roles=MODERATOR)
    assert await system.unblock() == (change_id,)
    result = await system.moderation.block(USER, "once", None, change_id, actor="m", roles=MODERATOR)
    assert result.sanction_ids == (change_id,)
    assert await system.reason() is None, "a late repetition does not block again"


async def test_unseen_changes_are_in_the_log_and_not_among_the_events(system: System) -> None:
    await system.block("for good", None)
    await system.pass_time(1)
    weaker = await system.block("for a moment", 3)
    await system.pass_time(1)
    await system.unblock(weaker)
    assert [change.kind for change in await system.changes.of_player(USER)] == [
        "PLAYER_BLOCKED",
        "SANCTION_ADDED",
        "SANCTION_LIFTED",
    ]
    pages = [event.event_id for page, _ in [each async for each in system.moderation.events()] for event in page]
    assert pages == [event.event_id for event in system.published.events]
    assert await system.moderation.republish([weaker], only_check=False) == []


async def test_block_of_an_older_version_is_a_sanction(system: System) -> None:
    block = {"reason": "before", "blocked_at": START, "expires_at": START + timedelta(seconds=60)}
    await system.database["users"].update_one({"_id": USER}, {"$set": {"block": block, "version": 1}})
    await system.block("after", 30)
    assert await system.reason() == "before"
    account = await system.store.account(USER)
    assert account is not None
    assert [sanction.reason for sanction in account.sanctions_at(system.now)] == ["before", "after"]
    await system.pass_time(61)
    assert await system.reason() is None
    assert "block" not in (await system.database["users"].find_one({"_id": USER}) or {})


async def test_block_that_an_older_version_sets_beside_sanctions_counts(system: System) -> None:
    await system.block("permanent", None)
    block = {"reason": "from an older process", "blocked_at": START, "expires_at": START + timedelta(seconds=60)}
    await system.database["users"].update_one({"_id": USER}, {"$set": {"block": block}})
    assert await system.reason() == "permanent"


async def test_sanctions_are_bounded(system: System) -> None:
    for number in range(MAX_SANCTIONS):
        await system.block(str(number), 60)
    with pytest.raises(ServiceError) as refused:
        await system.block("one more", 60)
    assert refused.value.reason is Reason.INVALID_ARGUMENT
    await system.pass_time(61)
    await system.block("one more", 60)


async def test_erased_moderator_is_nobodys_actor(system: System) -> None:
    await system.block("for good", None)
    erasures = ErasureStore(system.database)
    await erasures.prepare()
    assert await erasures.finish("someone", "pseudonym")
    account = await system.store.account(USER)
    assert account is not None
    assert [sanction.actor for sanction in account.sanctions] == ["pseudonym"]


sanctions = st.lists(
    st.tuples(st.sampled_from(SetBy), st.none() | st.integers(1, 100), st.integers(0, 50)), min_size=1, max_size=8
)


@given(sanctions, st.sets(st.integers(0, 7)), st.integers(0, 120))
def test_player_is_blocked_while_any_unlifted_sanction_lasts(
    imposed: list[tuple[SetBy, int | None, int]], lifted: set[int], later: int
) -> None:
    account = Account(USER, "ada", "", frozenset(), "", START)
    for index, (by, lasts, after) in enumerate(sorted(imposed, key=lambda each: each[2])):
        starts = START + timedelta(seconds=after)
        ends = None if lasts is None else starts + timedelta(seconds=lasts)
        account = with_sanction(account, Sanction(str(index), str(index), "", by, starts, ends))
    account = without_sanctions(account, {str(index) for index in lifted}, START) or account
    later = max([later, *(after for _, _, after in imposed)])  # what had ended by a later sanction is not kept
    now = START + timedelta(seconds=later)
    ends_of = [
        None if lasts is None else after + lasts
        for index, (_, lasts, after) in enumerate(sorted(imposed, key=lambda each: each[2]))
        if index not in lifted
    ]
    last = None if None in ends_of else max((end for end in ends_of if end is not None), default=0)
    assert (account.block_at(now) is not None) == (last is None or last > later)
