"""Groups of players: membership as a plain list says, limits, who may do what, and what an erasure leaves."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from services.boards.definition import DEFINITIONS, Definition, to_document
from services.identity.accounts import Account
from services.identity.erasure.erasure_store import ErasureStore
from services.identity.groups.group import (
    CODE_LENGTH,
    MAX_BOARDS,
    MAX_GROUPS,
    MAX_MEMBERS,
    MAX_OWNED,
    Group,
    Member,
    new_code,
    new_group,
    read_code,
    with_member,
    without_member,
)
from services.identity.groups.group_store import GroupStore
from services.identity.groups.service import Groups
from services.identity.groups.team_boards import MAX_TEAMS, BoardDefinitions
from services.identity.moderation.changes import Change
from services.identity.store import IdentityStore, in_transaction
from services.runtime.config.settings import MongoConfig
from services.runtime.errors import Reason, ServiceError
from services.runtime.stores.mongo import Mongo, open_mongo
from services.streams import PLAYER_ERASED
from tests.servers import unique

START = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcde")), max_size=30))
def test_members_are_those_of_a_plain_list_and_the_first_of_them_succeeds_the_owner(
    steps: list[tuple[bool, str]],
) -> None:
    group: Group | None = new_group("g", "Friends", "a", START)
    expected, owner = ["a"], "a"
    for number, (joins, player) in enumerate(steps, 1):
        if group is None:
            break
        if joins and player not in expected:
            expected.append(player)
        elif not joins and player in expected:
            expected.remove(player)
            owner = expected[0] if expected and owner == player else owner
        at = START + timedelta(seconds=number)
        group = with_member(group, player, at) if joins else without_member(group, player)
        assert [each.user_id for each in group.members if group] == expected if group else expected == []
        assert group is None or group.owner_id == owner


def test_code_is_random_and_read_as_people_write_it() -> None:
    codes = {new_code() for _ in range(100)}
    assert len(codes) == 100
    assert all(len(code) == CODE_LENGTH and read_code(code) == code for code in codes)
    assert read_code("ab-cd o0il") == "ABCD0011"


@pytest_asyncio.fixture
async def mongo(mongo_url: str) -> AsyncIterator[Mongo]:
    async with open_mongo(MongoConfig(url=mongo_url, database=unique("t")), "identity") as mongo:
        for store in (GroupStore(mongo.database), IdentityStore(mongo.database), ErasureStore(mongo.database)):
            await store.prepare()
        for name in ("ada", "ben", "cleo"):
            account = Account(name, f"{name}-name", "", frozenset({"player"}), "", START)
            await IdentityStore(mongo.database).add_account(account)
        yield mongo
        await mongo.client.drop_database(mongo.database.name)


@pytest.fixture
def groups(mongo: Mongo) -> Groups:
    return Groups(
        GroupStore(mongo.database),
        BoardDefinitions(mongo.database),
        IdentityStore(mongo.database),
        now=lambda: START,
    )


async def created(groups: Groups, owner: str = "ada") -> Group:
    group, changed = await groups.put(str(uuid.uuid4()), "Friends", owner, owner_id=owner)
    assert changed
    return group


async def test_group_is_created_once_and_joined_by_its_code_alone(groups: Groups) -> None:
    group = await created(groups)
    again = await groups.put(group.group_id, "Friends", "ada", owner_id="ada")
    assert again == (group, False)
    renamed, changed = await groups.put(group.group_id, "Old friends", "ada", owner_id="ada")
    assert (renamed.title, renamed.code, changed) == ("Old friends", group.code, True)
    joined, changed = await groups.join(group.code.lower(), "ben")
    assert ([each.user_id for each in joined.members], changed) == (["ada", "ben"], True)
    assert (await groups.join(group.code, "ben"))[1] is False
    rotated = await groups.rotate_code(group.group_id, owner_id="ada")
    with pytest.raises(ServiceError) as refused:
        await groups.join(group.code, "cleo")
    assert refused.value.reason is Reason.GROUP_NOT_FOUND
    assert (await groups.join(rotated.code, "cleo"))[1] is True


async def test_players_who_join_at_the_same_time_are_all_members(groups: Groups) -> None:
    group = await created(groups)
    await asyncio.gather(
        groups.join(group.code, "ben"), groups.join(group.code, "cleo"), groups.join(group.code, "ben")
    )
    page = await groups.members(group.group_id, 0, "", viewer_id=None)
    assert sorted(each.user_id for each in page.members) == ["ada", "ben", "cleo"]


async def test_only_the_owner_changes_a_group_and_strangers_do_not_see_it(groups: Groups) -> None:
    group = await created(groups)
    await groups.join(group.code, "ben")
    group_id = group.group_id
    for player, reason in (("ben", Reason.PERMISSION_DENIED), ("cleo", Reason.GROUP_NOT_FOUND)):
        for act in (
            groups.put(group_id, "Mine", player, owner_id=player),
            groups.rotate_code(group_id, owner_id=player),
            groups.remove(group_id, "ada", actor_id=player),
        ):
            with pytest.raises(ServiceError) as refused:
                await act
            assert refused.value.reason is reason
    with pytest.raises(ServiceError) as refused:
        await groups.group(group_id, viewer_id="cleo")
    assert refused.value.reason is Reason.GROUP_NOT_FOUND
    assert await groups.delete(group_id, owner_id="cleo") is False
    assert await groups.remove(group_id, "cleo", actor_id="cleo") is False
    assert await groups.remove(group_id, "ben", actor_id="ada") is True
    assert await groups.delete(group_id, owner_id="ada") is True
    assert await groups.delete(group_id, owner_id="ada") is False
    assert await groups.of_player("ada") == []


async def test_members_groups_and_owned_groups_are_bounded(groups: Groups, mongo: Mongo) -> None:
    store = GroupStore(mongo.database)

    def full(number: int, owner: str, members: int) -> Group:
        return Group(
            f"g{number}",
            "t",
            owner,
            new_code(),
            START,
            tuple(Member(f"{owner}{n or ''}", START) for n in range(members)),
        )

    whole = full(0, "x", MAX_MEMBERS)
    await store.add(whole)
    owned = [full(100 + number, "ada", 1) for number in range(MAX_OWNED)]
    joined = [full(200 + number, "ben", 1) for number in range(MAX_GROUPS)]
    for each in (*owned, *joined):
        await store.add(each)
    mine = await created(groups, "cleo")
    for act, message in (
        (groups.join(whole.code, "cleo"), "500 members"),
        (groups.put(str(uuid.uuid4()), "one more", "ada", owner_id="ada"), "own at most 20"),
        (groups.join(mine.code, "ben"), "at most 50 groups"),
    ):
        with pytest.raises(ServiceError, match=message) as refused:
            await act
        assert refused.value.reason is Reason.LIMIT_REACHED
    assert await groups.join(mine.code, "cleo") == (mine, False), "members are told so, whatever the limits"


async def test_members_are_paged_in_the_order_in_which_they_joined(groups: Groups, mongo: Mongo) -> None:
    group = await created(groups)
    at = START
    for name in ("p3", "p1", "p2"):
        at += timedelta(seconds=1)
        when = at
        await GroupStore(mongo.database).change(group.group_id, lambda g, n=name, t=when: with_member(g, n, t))  # type: ignore[misc]
    first = await groups.members(group.group_id, 2, "", viewer_id="ada")
    await groups.remove(group.group_id, "p3", actor_id=None)
    second = await groups.members(group.group_id, 2, first.next_page_token, viewer_id="ada")
    assert [[each.user_id for each in page.members] for page in (first, second)] == [["ada", "p3"], ["p1", "p2"]]
    assert second.next_page_token == ""


async def test_erased_player_is_in_no_group_and_their_groups_go_on(groups: Groups, mongo: Mongo) -> None:
    shared, alone = await created(groups), await created(groups)
    await groups.join(shared.code, "ben")
    erasures = ErasureStore(mongo.database)
    await erasures.erase(Change(str(uuid.uuid4()), "ada", PLAYER_ERASED, START, "", ""), START)
    assert [(each.group_id, each.owner_id) for each in await groups.of_player("ben")] == [(shared.group_id, "ben")]
    with pytest.raises(ServiceError) as refused:
        await groups.group(alone.group_id, viewer_id=None)
    assert refused.value.reason is Reason.GROUP_NOT_FOUND
    with pytest.raises(ServiceError) as refused:
        await groups.join(shared.code, "ada")
    assert refused.value.reason is Reason.PLAYER_NOT_FOUND
    # A request that was under way when the account was erased.
    await GroupStore(mongo.database).change(shared.group_id, lambda group: with_member(group, "ada", START))
    await mongo.database["changes"].update_many({}, {"$unset": {"unpublished": ""}})
    assert await erasures.finish("ada", "erased-00")
    assert await groups.of_player("ada") == []


async def defined(mongo: Mongo, *definitions: Definition) -> None:
    """Write definitions as score does."""
    boards = {each.name: to_document(each) for each in definitions}
    await mongo.database[DEFINITIONS].insert_one({"_id": DEFINITIONS, "boards": boards})


CUP = Definition("cup", segment="teams:sum")


def everybody(_: Definition) -> bool:
    """Whether a board may be read, by those who read all."""
    return True


async def test_edition_of_a_board_rises_with_everything_that_its_readers_see(groups: Groups, mongo: Mongo) -> None:
    await defined(mongo, CUP)
    group = await created(groups)
    group_id, editions = group.group_id, [0]

    async def rose() -> bool:
        edition, teams = await groups.teams("cup", editions[-1])
        editions.append(edition)
        assert bool(teams) <= (edition > editions[-2]), "teams are sent with a new edition alone"
        return edition > editions[-2]

    assert not await rose()
    assert (await groups.enter(group_id, "cup", owner_id="ada", may_read=everybody))[1]
    assert await rose()
    entered, changed = await groups.enter(group_id, "cup", owner_id="ada", may_read=everybody)
    assert ([each.board for each in entered.boards], changed, await rose()) == (["cup"], False, False)
    await groups.join(group.code, "ben")
    assert await rose()
    await groups.rotate_code(group_id, owner_id="ada")
    assert not await rose()
    await groups.put(group_id, "Champions", "ada", owner_id="ada")
    assert await rose()
    await in_transaction(mongo.client, lambda transaction: GroupStore(mongo.database).remove_player("ben", transaction))
    assert await rose(), "erasures are changes like any other"
    assert [each.title for each in (await groups.teams("cup", 0))[1]] == ["Champions"]
    assert (await groups.leave_board(group_id, "cup", owner_id="ada"))[1]
    assert editions[-1] < (await groups.teams("cup", 0))[0]
    assert (await groups.leave_board(group_id, "cup", owner_id="ada"))[1] is False
    await groups.enter(group_id, "cup", owner_id=None, may_read=everybody)
    await groups.delete(group_id, owner_id="ada")
    assert (await groups.teams("cup", 0))[1] == []
    assert await rose()


async def test_members_are_listed_again_only_when_the_group_has_another_edition(groups: Groups, mongo: Mongo) -> None:
    group = await created(groups)
    # As an earlier version stored it.
    await mongo.database["groups"].update_one({"_id": group.group_id}, {"$unset": {"edition": ""}})
    editions = [0]

    async def listed() -> list[str]:
        page = await groups.members(group.group_id, 0, "", viewer_id=None, edition=editions[-1])
        assert page.edition >= editions[-1]
        editions.append(page.edition)
        return [each.user_id for each in page.members]

    assert await listed() == ["ada"]
    assert await listed() == []
    await groups.join(group.code, "ben")
    assert await listed() == ["ada", "ben"]
    assert await listed() == []
    assert [each.user_id for each in (await groups.members(group.group_id, 0, "", viewer_id="ben", edition=2)).members]
    await groups.remove(group.group_id, "ada", actor_id="ada")
    assert await listed() == ["ben"]
    await groups.put(group.group_id, "Others", "ben", owner_id="ben")
    assert await listed() == ["ben"], "a change of anything may be sent again"
    await in_transaction(mongo.client, lambda transaction: GroupStore(mongo.database).remove_player("ben", transaction))
    with pytest.raises(ServiceError) as gone:
        await listed()
    assert gone.value.reason is Reason.GROUP_NOT_FOUND
    assert len(set(editions)) == 5


async def test_deleted_group_with_a_board_of_its_members_is_not_created_again(groups: Groups, mongo: Mongo) -> None:
    shown, other = await created(groups), await created(groups)
    await defined(mongo, CUP, Definition("friends", segment=f"group:{shown.group_id}"))
    for group in (shown, other):
        await groups.delete(group.group_id, owner_id="ada")
    with pytest.raises(ServiceError) as refused:
        await groups.put(shown.group_id, "Impostors", "cleo", owner_id="cleo")
    assert refused.value.reason is Reason.GROUP_NOT_FOUND
    assert (await groups.put(other.group_id, "Others", "cleo", owner_id="cleo"))[1]


async def test_group_enters_boards_of_teams_that_its_owner_may_read(groups: Groups, mongo: Mongo) -> None:
    await defined(mongo, CUP, Definition("plain"), replace(CUP, name="over", state="archived"))
    group = await created(groups)
    await groups.join(group.code, "ben")
    for board, owner, may_read, reason in (
        ("cup", "ben", everybody, Reason.PERMISSION_DENIED),
        ("cup", "cleo", everybody, Reason.GROUP_NOT_FOUND),
        ("cup", "ada", lambda _: False, Reason.BOARD_NOT_FOUND),
        ("none", "ada", everybody, Reason.BOARD_NOT_FOUND),
        ("plain", "ada", everybody, Reason.INVALID_ARGUMENT),
        ("over", "ada", everybody, Reason.INVALID_ARGUMENT),
    ):
        with pytest.raises(ServiceError) as refused:
            await groups.enter(group.group_id, board, owner_id=owner, may_read=may_read)
        assert refused.value.reason is reason
    for owner, reason in (("ben", Reason.PERMISSION_DENIED), ("cleo", Reason.GROUP_NOT_FOUND)):
        with pytest.raises(ServiceError) as refused:
            await groups.leave_board(group.group_id, "cup", owner_id=owner)
        assert refused.value.reason is reason
    assert await groups.teams("cup", 0) == (0, [])


async def test_boards_of_a_group_and_teams_of_a_board_are_bounded(groups: Groups, mongo: Mongo) -> None:
    boards = [replace(CUP, name=f"cup-{number}") for number in range(MAX_BOARDS + 1)]
    await defined(mongo, *boards)
    entering, group = [await created(groups) for _ in range(4)], await created(groups, "ben")
    for each in boards[:-1]:
        await groups.enter(group.group_id, each.name, owner_id="ben", may_read=everybody)
    with pytest.raises(ServiceError, match="at most 10 boards"):
        await groups.enter(group.group_id, boards[-1].name, owner_id="ben", may_read=everybody)
    almost = [str(number) for number in range(MAX_TEAMS - 3)]
    await mongo.database["team_boards"].update_one({"_id": "cup-0"}, {"$set": {"groups": [group.group_id, *almost]}})
    results = await asyncio.gather(
        *(groups.enter(each.group_id, "cup-0", owner_id="ada", may_read=everybody) for each in entering),
        return_exceptions=True,
    )
    refused = [each for each in results if isinstance(each, ServiceError)]
    assert [each.reason for each in refused] == [Reason.LIMIT_REACHED] * 2, "also of groups that enter at the same time"
    await groups.leave_board(group.group_id, "cup-0", owner_id="ben")
    last = next(each for each, result in zip(entering, results, strict=True) if result in refused)
    assert (await groups.enter(last.group_id, "cup-0", owner_id="ada", may_read=everybody))[1], "a place became free"
