"""Guests: a nickname that anybody may have, a fixed end, erasure after it, and what becomes of one who registers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import jwt
import pytest_asyncio

from services.identity.service import OpenSession
from services.runtime.config.settings import MongoConfig
from services.runtime.stores.mongo import open_mongo
from services.streams import COUNTRY_CHANGED, PLAYER_ERASED
from tests.servers import unique
from tests.unit.identity.system import LIFE, PASSWORD, RETENTION, SESSION, System


@pytest_asyncio.fixture
async def system(mongo_url: str) -> AsyncIterator[System]:
    async with open_mongo(MongoConfig(url=mongo_url, database=unique("t")), "identity") as mongo:
        opened = System(mongo.database)
        for each in (opened.store, opened.changes, opened.erasures):
            await each.prepare()
        yield opened
        await mongo.client.drop_database(mongo.database.name)


def claims(session: OpenSession) -> dict[str, Any]:
    payload: dict[str, Any] = jwt.decode(session.access_token, options={"verify_signature": False})
    return payload


async def test_guests_share_names_with_one_another_and_with_a_player(system: System) -> None:
    player = await system.service.register("anna", PASSWORD, "")
    guests = [await system.service.create_guest("anna") for _ in range(2)]
    assert len({player.account.user_id, *(guest.account.user_id for guest in guests)}) == 3
    assert [claims(guest)["roles"] for guest in guests] == [["guest"]] * 2
    assert (await system.service.login("anna", PASSWORD)).account.user_id == player.account.user_id


async def test_a_guest_name_stays_free_for_a_player(system: System) -> None:
    await system.service.create_guest("anna")
    assert (await system.service.register("anna", PASSWORD, "")).account.username == "anna"


async def test_a_nickname_follows_the_rules_of_names(system: System) -> None:
    for nickname in ("Admin", "staff", "a", "zero\u200bwidth", "two words", "x" * 33):
        assert await system.refused(system.service.create_guest(nickname)) == "INVALID_ARGUMENT", nickname


async def test_a_guest_takes_no_name_of_a_player_who_was_erased_while_blocked(system: System) -> None:
    player = await system.service.register("mallory", PASSWORD, "")
    await system.block(player.account.user_id)
    await system.personal_data.delete_account(player.account.user_id, PASSWORD)
    assert await system.refused(system.service.create_guest("Mallory")) == "USERNAME_TAKEN"


async def test_the_name_of_a_blocked_guest_stays_free(system: System) -> None:
    guest = await system.service.create_guest("anna")
    await system.block(guest.account.user_id)
    await system.personal_data.delete_account(guest.account.user_id, "any")
    await system.service.create_guest("anna")
    await system.service.register("anna", PASSWORD, "")


async def test_a_guest_is_found_by_no_name(system: System) -> None:
    guest = await system.service.create_guest("anna")
    stored = await system.database["users"].find_one({"_id": guest.account.user_id})
    assert stored is not None
    for name in ("anna", stored["username_key"]):
        assert await system.store.account_by_name(name) is None
        assert await system.refused(system.service.login(name, "")) == "CREDENTIALS_INVALID"
        assert await system.refused(system.service.grant_role(name, "admin")) == "PLAYER_NOT_FOUND"
    assert await system.store.accounts_by_name("", None, 10, blocked_at=None) == []


async def test_a_guest_session_ends_at_its_time_however_often_it_is_renewed(system: System) -> None:
    start = system.now
    guest = await system.service.create_guest("anna")
    assert guest.expires_at == start + LIFE
    system.now = start + LIFE - timedelta(minutes=3)
    renewed = await system.service.refresh(guest.refresh_token)
    assert renewed.expires_at == start + LIFE
    assert renewed.access_ttl == timedelta(minutes=3)
    assert claims(renewed)["exp"] == int((start + LIFE).timestamp())
    system.now = start + LIFE
    assert await system.refused(system.service.refresh(renewed.refresh_token)) == "UNAUTHENTICATED"
    assert await system.service.ended_sessions([guest.session_id]) == [guest.session_id]


async def test_a_guest_is_erased_when_the_retention_is_over(system: System) -> None:
    start = system.now
    early = [await system.service.create_guest("early") for _ in range(3)]
    system.now += timedelta(seconds=1)
    late = await system.service.create_guest("late")
    player = await system.service.register("player", PASSWORD, "")
    system.now = start + LIFE + RETENTION
    await asyncio.gather(system.guests.erase_ended(), system.guests.erase_ended())
    ids = [each.account.user_id for each in (*early, late, player)]
    assert {each.user_id for each in await system.store.accounts(ids)} == {late.account.user_id, player.account.user_id}
    assert sorted(await system.erasures.are_erased(ids)) == sorted(each.account.user_id for each in early)
    assert [each.event_type for each in system.published.events] == [PLAYER_ERASED] * len(early)
    system.now += timedelta(seconds=1)
    await system.guests.erase_ended()
    assert await system.store.account(late.account.user_id) is None
    assert await system.store.account(player.account.user_id) is not None


async def test_a_guest_who_registers_keeps_the_id(system: System) -> None:
    start = system.now
    guest = await system.service.create_guest("anna")
    player = await system.register("anna.k", guest, country="VN")
    assert player.account.user_id == guest.account.user_id
    assert claims(player)["roles"] == ["player"]
    assert (await system.service.login("Anna.K", PASSWORD)).account == player.account
    assert [event.payload.country for event in system.published.events] == ["VN"]
    assert [event.event_type for event in system.published.events] == [COUNTRY_CHANGED]
    (change,) = await system.changes.of_player(player.account.user_id)
    assert (change.former_username, change.actor) == ("anna", guest.account.user_id)
    # The sessions of the guest end, that of the player is one like any other, and nobody erases the account.
    assert await system.service.ended_sessions([guest.session_id, player.session_id]) == [guest.session_id]
    assert player.expires_at == start + SESSION
    system.now = start + LIFE + RETENTION
    await system.guests.erase_ended()
    assert await system.store.account(player.account.user_id) is not None


async def test_a_guest_may_register_under_the_nickname(system: System) -> None:
    guest = await system.service.create_guest("anna")
    player = await system.register("anna", guest)
    assert player.account.user_id == guest.account.user_id
    assert await system.refused(system.service.register("ANNA", PASSWORD, "")) == "USERNAME_TAKEN"


async def test_a_guest_stays_one_if_the_name_is_taken_or_blocked(system: System) -> None:
    await system.service.register("taken", PASSWORD, "")
    mallory = await system.service.register("mallory", PASSWORD, "")
    await system.block(mallory.account.user_id)
    await system.personal_data.delete_account(mallory.account.user_id, PASSWORD)
    for name in ("Taken", "mallory"):
        guest = await system.service.create_guest("guest")
        assert await system.refused(system.register(name, guest)) == "USERNAME_TAKEN"
        assert (await system.service.refresh(guest.refresh_token)).account.is_guest


async def test_of_two_registrations_of_a_guest_at_once_one_has_the_id(system: System) -> None:
    guest = await system.service.create_guest("anna")
    players = await asyncio.gather(*(system.register(f"anna{n}", guest) for n in range(2)))
    ids = [player.account.user_id for player in players]
    assert ids.count(guest.account.user_id) == 1
    assert {(await system.service.login(f"anna{n}", PASSWORD)).account.user_id for n in range(2)} == {*ids}


async def test_a_token_of_no_live_guest_session_claims_nothing(system: System) -> None:
    player = await system.service.register("player", PASSWORD, "")
    guests = [await system.service.create_guest("anna") for _ in range(4)]
    ended, blocked, rotated, forged = guests
    await system.service.logout(ended.refresh_token)
    await system.block(blocked.account.user_id)
    await system.service.refresh((await system.service.refresh(rotated.refresh_token)).refresh_token)
    tokens = [
        player.refresh_token,
        ended.refresh_token,
        blocked.refresh_token,
        rotated.refresh_token,
        f"{forged.session_id}.guess",
        "nonsense",
        "",
    ]
    known = {player.account.user_id, *(guest.account.user_id for guest in guests)}
    for number, token in enumerate(tokens):
        new = await system.service.register(f"new{number}", PASSWORD, "", token)
        assert new.account.user_id not in known, number
    late = await system.service.create_guest("late")
    system.now += LIFE
    assert (await system.register("later", late)).account.user_id != late.account.user_id


async def test_a_moderator_renames_a_guest_to_any_name(system: System) -> None:
    await system.service.register("anna", PASSWORD, "")
    guest = await system.service.create_guest("rude")
    renamed = await system.moderation.rename(
        guest.account.user_id, "anna", "rude", actor="moderator", roles=frozenset({"moderator"})
    )
    assert renamed.account.username == "anna"
    assert renamed.account.is_guest
    assert (await system.service.refresh(guest.refresh_token)).account.username == "anna"
