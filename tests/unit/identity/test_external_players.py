"""Players of other systems: one account for one id, whatever comes twice, at once, or after an erasure."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from pymongo.asynchronous.database import AsyncDatabase
from topten.identity.v1.identity_pb2 import PlayerProfile

from services.identity.accounts import Account, ExternalId, Profile
from services.identity.erasure.erasure_store import ErasureStore
from services.identity.external_players.external_player_store import ExternalPlayerStore
from services.identity.external_players.messages import read_profiles, result_of
from services.identity.external_players.service import Ensured, ExternalPlayers, Outcome
from services.identity.moderation.change_store import ChangeStore
from services.identity.moderation.changes import Change, with_profile
from services.identity.moderation.service import Moderation
from services.identity.store import IdentityStore
from services.identity.usernames import UsernameRules
from services.runtime.auth.claims import Claims
from services.runtime.auth.external_ids import player_id
from services.runtime.config.settings import MongoConfig
from services.runtime.errors import ServiceError
from services.runtime.stores.mongo import open_mongo
from services.streams import PLAYER_ERASED
from tests.servers import unique
from tests.unit.identity.test_sanctions import Published

START = datetime.fromisoformat("2026-11-23T12:00:00+00:00")
SHOP, GAME, ISSUER = "service:shop", "service:game", "https://id.example"
USERNAMES = UsernameRules(["Support"])
texts = st.text(min_size=1, max_size=8)
optional = st.sampled_from([None, "", "VN", "TH"])


class PausingStore(IdentityStore):
    """Pauses after accounts were read, once, if `is_pausing` is set."""

    is_pausing = False

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        super().__init__(database)
        self.paused, self.resume = asyncio.Event(), asyncio.Event()

    async def accounts(self, user_ids: Sequence[str], usernames: Sequence[str] = ()) -> list[Account]:
        found = await super().accounts(user_ids)
        if self.is_pausing:
            self.is_pausing = False
            self.paused.set()
            await self.resume.wait()
        return found


class System:
    """The use cases on a real database."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self.database = database
        self.published = Published()
        self.store = PausingStore(database)
        self.changes, self.erasures = ChangeStore(database), ErasureStore(database)
        moderation = Moderation(self.changes, self.published, now=lambda: START)  # type: ignore[arg-type]  # only records
        players = ExternalPlayerStore(database)
        self.players = ExternalPlayers(self.store, players, moderation, USERNAMES, now=lambda: START)

    async def ensure(self, *profiles: Profile, source: str = SHOP) -> list[str]:
        """Return the effect or the reason of the refusal of each."""
        return [effect(each) for each in await self.players.ensure(profiles, actor=source)]

    async def account(self, external_id: str, source: str = SHOP) -> Account | None:
        return await self.store.account(player_id(source, external_id))

    async def erase(self, external_id: str, source: str = SHOP) -> None:
        change = Change(unique("e"), player_id(source, external_id), PLAYER_ERASED, START, "", "")
        assert await self.erasures.erase(change, START)


def effect(outcome: Outcome) -> str:
    return str(outcome.effect) if isinstance(outcome, Ensured) else str(outcome.reason)


def profile(
    external_id: str, username: str, country: str | None = None, avatar: str | None = None, *, source: str = SHOP
) -> Profile:
    return Profile(ExternalId(source, external_id), username, country, avatar)


@pytest_asyncio.fixture
async def system(mongo_url: str) -> AsyncIterator[System]:
    async with open_mongo(MongoConfig(url=mongo_url, database=unique("t")), "identity") as mongo:
        opened = System(mongo.database)
        for each in (opened.store, opened.changes, opened.erasures):
            await each.prepare()
        yield opened
        await mongo.client.drop_database(mongo.database.name)


@given(st.lists(st.tuples(st.sampled_from([SHOP, GAME, ISSUER, "admin"]), texts), unique=True, min_size=2, max_size=5))
def test_two_systems_never_share_a_player(pairs: list[tuple[str, str]]) -> None:
    assert len({player_id(*pair) for pair in pairs}) == len(pairs)


@given(texts, optional, optional, texts, optional, optional)
def test_a_profile_is_applied_once(
    name: str, country: str | None, avatar: str | None, before: str, old_country: str | None, old_avatar: str | None
) -> None:
    account = Account("u", before, "", frozenset(), old_country or "", START, avatar_url=old_avatar or "")
    wanted = profile("1", name, country, avatar)
    after = with_profile(account, wanted)
    assert after is not None
    assert with_profile(after, wanted) is None
    assert after.country == (account.country if country is None else country)
    assert (after.version > account.version) == ((after.username, after.country) != (before, account.country))


async def test_same_profile_changes_nothing_and_another_one_is_the_same_player(system: System) -> None:
    ada, bob = profile("1", "ada", "VN", "https://x.example/a"), profile("2", "bob")
    assert await system.ensure(ada, bob) == ["CREATED", "CREATED"]
    first = await system.account("1")
    assert await system.ensure(ada, bob) == ["UNCHANGED", "UNCHANGED"]
    assert await system.account("1") == first
    assert not system.published.events
    assert await system.ensure(profile("1", "Ada", "TH"), bob) == ["UPDATED", "UNCHANGED"]
    assert await system.ensure(profile("1", "Ada L", "TH", "")) == ["UPDATED"]
    after = await system.account("1")
    assert after is not None
    assert first is not None
    assert (after.user_id, after.username, after.country, after.avatar_url) == (first.user_id, "Ada L", "TH", "")
    kinds = [change.kind for change in await system.changes.of_player(after.user_id)]
    assert kinds == ["PLAYER_ADDED", "COUNTRY_CHANGED", "PROFILE_CHANGED"]
    assert [event.event_type for event in system.published.events] == ["COUNTRY_CHANGED", "PROFILE_CHANGED"]
    assert [event.payload.country for event in system.published.events] == ["TH", "TH"]
    assert await system.store.account_by_name("ADA L") == after
    assert await system.store.account_by_name("ada") is None


async def test_change_that_boards_do_not_show_has_no_event(system: System) -> None:
    await system.ensure(profile("1", "ada"))
    assert await system.ensure(profile("1", "ada", None, "https://x.example/a")) == ["UPDATED"]
    assert not system.published.events


async def test_random_calls_leave_what_the_last_accepted_profiles_say(system: System) -> None:
    """Against a model, with few names and ids, so that names are taken and given up all the time."""
    rng = random.Random(7)
    expected: dict[tuple[str, str], str] = {}
    for _ in range(40):
        source = rng.choice([SHOP, GAME])
        sent = [profile(str(rng.randrange(4)), rng.choice("abcdef") * 2, source=source) for _ in range(3)]
        outcomes = await system.players.ensure(sent, actor=source)
        for each, outcome in zip(sent, outcomes, strict=True):
            if isinstance(outcome, Ensured):
                expected[each.external_id] = each.username
        names = {key: account.username for key in expected if (account := await system.account(key[1], key[0]))}
        assert names == expected
        assert len(set(names.values())) == len(names)
    assert await system.database["users"].count_documents({}) == len(expected)


async def test_a_refusal_is_of_one_player_alone(system: System) -> None:
    messages = [
        PlayerProfile(external_id="1", username="ada"),
        PlayerProfile(external_id="2", username="ADA"),
        PlayerProfile(external_id="3", username="аda"),  # the first letter is Cyrillic
        PlayerProfile(external_id="4", username="a\u202eb"),
        PlayerProfile(external_id="5", username="x"),
        PlayerProfile(external_id="12", username="S.upport"),
        PlayerProfile(external_id="", username="nobody"),
        PlayerProfile(external_id="a\nb", username="lines"),
        PlayerProfile(external_id="6" * 257, username="long"),
        PlayerProfile(external_id="7", username="seven", country="XX"),
        PlayerProfile(external_id="8", username="eight", country="vn"),
        PlayerProfile(external_id="9", username="nine", avatar_url="http://x.example"),
        PlayerProfile(external_id="10", username="ten", avatar_url="javascript:alert(1)"),
        PlayerProfile(external_id="11", username="eleven", avatar_url="https://u:p@x.example/"),
        PlayerProfile(external_id="AAAAAAAA-AAAA-4AAA-8AAA-AAAAAAAAAAAA", username="last"),
    ]
    profiles, refusals = read_profiles(messages, SHOP, USERNAMES)
    ensured = await system.players.ensure(list(profiles.values()), actor=SHOP)
    outcomes = refusals | dict(zip(profiles, ensured, strict=True))
    results = [result_of(outcomes[position]) for position in range(len(messages))]
    invalid = "INVALID_ARGUMENT"
    assert [(each.reason, each.field) for each in results] == [
        ("", ""),
        ("USERNAME_TAKEN", "username"),
        (invalid, "username"),
        (invalid, "username"),
        (invalid, "username"),
        (invalid, "username"),
        (invalid, "external_id"),
        (invalid, "external_id"),
        (invalid, "external_id"),
        (invalid, "country"),
        (invalid, "country"),
        (invalid, "avatar_url"),
        (invalid, "avatar_url"),
        (invalid, "avatar_url"),
        ("", ""),
    ]
    assert all(bool(each.message) == bool(each.reason) and bool(each.user_id) != bool(each.reason) for each in results)
    assert results[-1].user_id == player_id(SHOP, "AAAAAAAA-AAAA-4AAA-8AAA-AAAAAAAAAAAA"), (
        "in the spelling of its system"
    )
    assert await system.database["users"].count_documents({}) == 2


async def test_many_taken_names_refuse_their_own_players_alone(system: System) -> None:
    await system.ensure(*(profile(str(n), f"name-{n}") for n in range(0, 60, 2)))
    outcomes = await system.ensure(*(profile(str(n), f"name-{n}", source=GAME) for n in range(60)), source=GAME)
    assert outcomes == ["USERNAME_TAKEN", "CREATED"] * 30


async def test_calls_at_the_same_moment_make_one_account_and_give_a_name_once(system: System) -> None:
    profiles = [profile("1", name) for name in ("ada", "bob") * 4]
    outcomes = await asyncio.gather(*(system.ensure(each) for each in profiles))
    assert [each for (each,) in outcomes].count("CREATED") == 1
    account = await system.account("1")
    assert account is not None
    assert account.username in ("ada", "bob")
    rivals = await asyncio.gather(*(system.ensure(profile(str(n), "carol")) for n in range(2, 10)))
    assert sorted(each for (each,) in rivals) == ["CREATED", *["USERNAME_TAKEN"] * 7]
    renames = await asyncio.gather(*(system.ensure(profile(n, "dora")) for n in ("1", "2", "3")))
    assert [each for (each,) in renames].count("USERNAME_TAKEN") == 2


async def test_an_outside_issuers_player_is_the_same_in_any_order_of_arrival(system: System) -> None:
    def claims(subject: str, name: str = "ada") -> Claims:
        user_id = player_id(ISSUER, subject)
        roles = frozenset({"player"})
        return Claims(user_id, name, roles, "", "", "access", 0, issuer=ISSUER, external_id=subject)

    assert await system.ensure(profile("1", "Ada L", "VN", source=ISSUER)) == ["CREATED"]
    admitted = await system.players.admit(claims("1"))
    assert (admitted.username, admitted.country) == ("Ada L", "VN")
    late = await system.players.admit(claims("2"))
    assert late.external_id == (ISSUER, "2")
    assert await system.ensure(profile("2", "bob", source=ISSUER)) == ["UPDATED"]
    again = await system.players.admit(claims("2"))
    assert (again.user_id, again.username) == (late.user_id, "bob")
    assert (await system.players.admit(claims("4", "TopTen"))).username.startswith("player-")
    at_once = await asyncio.gather(*(system.players.admit(claims("3")) for _ in range(6)))
    assert len({each.user_id for each in at_once}) == 1


async def test_an_erased_player_does_not_come_back(system: System) -> None:
    await system.ensure(profile("1", "ada"))
    await system.erase("1")
    assert await system.ensure(profile("1", "ada"), profile("2", "bob")) == ["PLAYER_NOT_FOUND", "CREATED"]
    assert await system.account("1") is None
    assert await system.ensure(profile("1", "ada", source=GAME), source=GAME) == ["CREATED"], "another player"


@pytest.mark.parametrize("name", ["ada", "bob"])
async def test_a_player_erased_at_the_same_moment_does_not_come_back(system: System, name: str) -> None:
    for exists_before in (True, False):
        external_id = unique("x")
        if exists_before:
            await system.ensure(profile(external_id, "ada"))
        system.store.is_pausing = True
        ensuring = asyncio.create_task(system.ensure(profile(external_id, name, "VN")))
        await system.store.paused.wait()
        if not exists_before:
            await system.ensure(profile(external_id, "carol"))
        await system.erase(external_id)
        system.store.resume.set()
        assert await ensuring == ["PLAYER_NOT_FOUND"]
        assert await system.account(external_id) is None
        system.store.paused.clear()
        system.store.resume.clear()


async def test_a_player_erased_while_they_sign_in_does_not_come_back(system: System) -> None:
    subject = unique("s")
    user_id = player_id(ISSUER, subject)
    claims = Claims(user_id, "ada", frozenset({"player"}), "", "", "access", 0, issuer=ISSUER, external_id=subject)
    system.store.is_pausing = True
    admitting = asyncio.create_task(system.players.admit(claims))
    await system.store.paused.wait()
    await system.ensure(profile(subject, "carol", source=ISSUER))
    await system.erase(subject, ISSUER)
    system.store.resume.set()
    with pytest.raises(ServiceError, match="PLAYER_NOT_FOUND"):
        await admitting
    assert await system.account(subject, ISSUER) is None


async def test_an_account_of_the_previous_version_gets_its_external_id_once(system: System) -> None:
    await system.store.add_account(Account(player_id(ISSUER, "1"), "ada", "", frozenset({"player"}), "", START))
    wanted = profile("1", "ada", source=ISSUER)
    assert [await system.ensure(wanted), await system.ensure(wanted)] == [["UPDATED"], ["UNCHANGED"]]
    account = await system.account("1", ISSUER)
    assert account is not None
    assert account.external_id == (ISSUER, "1")
