"""Names of erased, blocked accounts, renames, sessions and the directory, on a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
import pytest_asyncio

from services.identity.accounts import Account, ExternalId
from services.identity.erasure.erasure_store import ErasureStore
from services.identity.external_players.external_player_store import Creation, ExternalPlayerStore
from services.identity.moderation.changes import SESSIONS_ENDED, Change
from services.identity.moderation.player_directory import PlayerDirectory
from services.identity.store import SessionState
from services.runtime.errors import Reason, ServiceError
from services.streams import PLAYER_ERASED
from tests.unit.identity.test_sanctions import ADMIN, MODERATOR, START, USER, System, system

__all__ = ["system"]  # the fixture
OTHER = "0192f0c5-0000-7000-8000-000000000002"
ADA = Account(OTHER, "Ada", "", frozenset({"player"}), "", START)


@pytest_asyncio.fixture
async def erasures(system: System) -> AsyncIterator[ErasureStore]:
    store = ErasureStore(system.database)
    await store.prepare()
    yield store


async def erase(system: System, erasures: ErasureStore) -> None:
    change = Change("0192f0c5-0000-7000-8000-00000000000e", USER, PLAYER_ERASED, system.now, "", "")
    assert await erasures.erase(change, system.now)


async def reason_of_registering(system: System, name: str) -> str:
    try:
        await system.store.add_account(replace(ADA, username=name, created_at=system.now))
    except ServiceError as error:
        return str(error.reason)
    return "OK"


async def test_name_of_a_blocked_account_stays_blocked_after_its_erasure(
    system: System, erasures: ErasureStore
) -> None:
    await system.block("cheating", 3600)
    await erase(system, erasures)
    assert await reason_of_registering(system, "ada") == "USERNAME_TAKEN"
    assert await reason_of_registering(system, "ADA") == "USERNAME_TAKEN", "in any case"
    assert await reason_of_registering(system, "\u0430d\u0430".replace("d", "\u0501")) == "USERNAME_TAKEN", (
        "a look-alike"
    )
    system.now += timedelta(seconds=3601)
    assert await reason_of_registering(system, "ada") == "OK", "as long as the block runs, and no longer"


async def test_name_of_a_permanently_blocked_account_never_becomes_free(system: System, erasures: ErasureStore) -> None:
    await system.block("cheating", 60)
    await system.block("cheating again", None)
    await erase(system, erasures)
    system.now += timedelta(days=4000)
    assert await reason_of_registering(system, "ada") == "USERNAME_TAKEN"


async def test_name_of_an_account_without_a_block_becomes_free(system: System, erasures: ErasureStore) -> None:
    await system.block("a mistake", None)
    await system.unblock()
    await erase(system, erasures)
    assert await reason_of_registering(system, "ada") == "OK"


async def test_no_other_way_leads_to_a_blocked_name(system: System, erasures: ErasureStore) -> None:
    await system.block("cheating", None)
    await erase(system, erasures)
    player = replace(ADA, external_id=ExternalId("service:game", "7"))
    created = await ExternalPlayerStore(system.database).create([player], actor="service:game", at=system.now)
    assert created == [Creation.USERNAME_TAKEN]
    assert await reason_of_registering(system, "bea") == "OK"
    with pytest.raises(ServiceError) as refused:
        await system.moderation.rename(OTHER, "ada", "why", actor="x", roles=MODERATOR)
    assert refused.value.reason is Reason.USERNAME_TAKEN


async def test_no_document_holds_the_name_of_an_erased_account(system: System, erasures: ErasureStore) -> None:
    await system.block("cheating", None)
    await erase(system, erasures)
    stored = await system.database["blocked_names"].find().to_list()
    assert stored
    assert all(len(each["_id"]) == 32 and set(each) <= {"_id", "expires_at"} for each in stored)


async def test_rename_is_an_event_and_keeps_the_former_name_in_the_log(system: System) -> None:
    renamed = await system.moderation.rename(USER, "Grace", "offensive", actor="mod", roles=MODERATOR)
    assert (renamed.former_username, renamed.account.username) == ("ada", "Grace")
    again = await system.moderation.rename(USER, "Grace", "offensive", actor="mod", roles=MODERATOR)
    assert again.event_id == ""
    assert [event.event_type for event in system.published.events] == ["PROFILE_CHANGED"]
    (change,) = await system.changes.of_player(USER)
    assert (change.actor, change.reason, change.former_username) == ("mod", "offensive", "ada")
    assert await reason_of_registering(system, "ada") == "OK", "the former name is free"


async def test_only_an_admin_renames_staff_or_ends_their_sessions(system: System) -> None:
    await system.store.grant_role("ada", "moderator")
    for work in (
        lambda roles: system.moderation.rename(USER, "Grace", "why", actor="x", roles=roles),
        lambda roles: system.moderation.end_sessions(USER, "", "why", actor="x", roles=roles),
    ):
        with pytest.raises(ServiceError) as refused:
            await work(MODERATOR)
        assert refused.value.reason is Reason.PERMISSION_DENIED
        await work(ADMIN)


async def open_session(system: System, session_id: str, epoch: int = 0) -> None:
    ends = system.now + timedelta(days=1)
    await system.store.add_session(SessionState(session_id, USER, epoch, session_id, None, b"", system.now, ends))


async def test_moderator_lists_sessions_and_ends_one_or_all(system: System) -> None:
    directory = PlayerDirectory(system.store, system.changes, now=lambda: system.now)
    ids = [f"0192f0c5-0000-7000-8000-00000000001{n}" for n in range(3)]
    for session_id in ids:
        await open_session(system, session_id)
        system.now += timedelta(minutes=1)
    assert [each.session_id for each in await directory.sessions(USER)] == ids[::-1]
    end = system.moderation.end_sessions
    assert await end(USER, ids[0], "stolen", actor="mod", roles=MODERATOR) == 1
    assert await end(USER, ids[0], "stolen", actor="mod", roles=MODERATOR) == 0
    assert await end(USER, "", "all of them", actor="mod", roles=MODERATOR) == 2
    assert await directory.sessions(USER) == []
    await open_session(system, ids[0])
    assert await directory.sessions(USER) == [], "one that was being opened has ended too"
    changes = await directory.changes(USER)
    assert [(each.kind, each.reason) for each in changes] == [
        (SESSIONS_ENDED, "all of them"),
        (SESSIONS_ENDED, "stolen"),
    ]


async def test_directory_pages_by_name_and_finds_the_blocked(system: System) -> None:
    directory = PlayerDirectory(system.store, system.changes, now=lambda: system.now)
    for number, name in enumerate(("Adam", "adele", "Bea", "ad-1")):
        user_id = f"0192f0c5-0000-7000-8000-0000000000a{number}"
        await system.store.add_account(replace(ADA, user_id=user_id, username=name))
    names: list[str] = []
    token = ""
    while True:
        page = await directory.users("AD", token, 2, blocked=False)
        names += [each.username for each in page.accounts]
        if not (token := page.next_page_token):
            break
    assert names == ["ad-1", "ada", "Adam", "adele"]
    await system.block("cheating", 60)
    assert [each.username for each in (await directory.users("", "", 0, blocked=True)).accounts] == ["ada"]
    assert (await directory.users("be", "", 0, blocked=True)).accounts == []
    system.now += timedelta(seconds=61)
    assert (await directory.users("", "", 0, blocked=True)).accounts == [], "also before the expiry is recorded"
    with pytest.raises(ServiceError) as refused:
        await directory.users("be", page.cursors[0], 2, blocked=False)
    assert refused.value.reason is Reason.CURSOR_EXPIRED
