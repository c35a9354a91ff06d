"""Metadata on the entries of boards, from the event to every way to read a board, on real stores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import timedelta
from operator import methodcaller
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from services.boards.board import Board
from services.boards.definition import Definition
from services.boards.periods.closed import DATABASE
from services.boards.proofs.pseudonyms import pseudonym_of
from services.boards.sharding import Sharding
from services.leaderboard.reading.boards import Boards
from services.runtime.clock import milliseconds_of, utc_now
from services.score.definitions.store import DefinitionStore
from services.score.ingest.decoding import MAX_METADATA
from services.score.periods.archive_store import ArchiveStore
from services.score.projection.standings import Agreement
from services.streams import COUNTRY_CHANGED, PLAYER_BLOCKED, PLAYER_ERASED, PLAYER_UNBLOCKED
from tests.deadline import eventually
from tests.system.boards.seeded import FixedRosters, reader
from tests.system.boards.test_defined_boards import definitions_of
from tests.system.periods.closing import Quiz, account_change, archived, last_week, quiz, resealer_of, system
from tests.system.score import ScoreSystem
from tests.system.views.shown_metadata import Act, act, expected, random_acts, shown, void
from tests.system.views.test_group_boards import SEGMENT, roster_of

__all__ = ["quiz", "system"]
RUN, BOTH = ("action:run",), ("action:run", "action:jump")
DEFINED = (
    Definition("sum", sources=RUN),
    Definition("count", sources=BOTH, aggregate="count"),
    Definition("best", sources=BOTH, aggregate="best"),
    Definition("fewest", sources=BOTH, aggregate="best", order="asc"),
    Definition("latest", sources=BOTH, aggregate="latest"),
    Definition("top-five", sources=RUN, aggregate="best", size=5),
    Definition("friends", sources=BOTH, aggregate="best", segment=SEGMENT),
)
FRIENDS = roster_of("ada", "eve", *(f"player-{number}" for number in range(0, 15, 2)))
SHARDS = "all=2; custom:best=3"


@pytest_asyncio.fixture
async def open_weeks(quiz: Quiz) -> AsyncIterator[None]:
    """Periods stay open for as long as quiz has an event of before to publish."""
    quiz.oldest = last_week()
    yield


async def define(system: ScoreSystem, *definitions: Definition, sharding: str = "") -> Boards:
    """Define boards, wait until they are built, and return a reader that knows them."""
    database = system.mongo.client[f"{system.prefix}_{DATABASE}"]
    store = DefinitionStore(database)
    putting = definitions_of(system, SEGMENT)
    for definition in definitions:
        await putting.put(definition, actor="test")

    async def is_ready() -> bool:
        return not any(each.state == "building" for each in (await store.read()).boards.values())

    await eventually(is_ready, "boards that are ready")
    catalog = await store.catalog(f"|{sharding}" if sharding else "")
    system.placement.adopt(Agreement(catalog, 0))
    rosters = FixedRosters(dict.fromkeys(("friends", "week-friends"), FRIENDS))
    return reader(system.redis, database, catalog=catalog, rosters=rosters)


async def publish(system: ScoreSystem, events: Iterable[Any]) -> None:
    for event in events:
        await system.publish_bytes(event.payload.user_id, event.SerializeToString())
    await system.until_drained()


async def assert_shown(
    system: ScoreSystem, boards: Boards, acts: list[Act], voided: set[str], *, hidden: frozenset[str] = frozenset()
) -> None:
    for definition in (None, *DEFINED):
        board = Board("all") if definition is None else definition.board("", "")
        wanted = {who: text for who, text in expected(definition, acts, voided).items() if who not in hidden}
        found = await shown(boards, board)
        if definition is not None and (definition.size or definition.group):
            head = await boards.read(board, lambda view: view.head(1000))
            wanted = {user_id: wanted[user_id] for user_id, _ in head.members if user_id in wanted}
        assert found == wanted, board.name
    assert await system.verify() == []


@pytest.mark.usefixtures("open_weeks")
async def test_every_read_shows_the_metadata_of_the_deciding_action(system: ScoreSystem) -> None:
    """Whether voids come after their actions or before, boards before the actions or later, from batches or a rebuild."""
    acts, voided = random_acts(400, players=15, start=utc_now() - timedelta(minutes=1), seed=41)
    events: list[Any] = [each.event for each in acts]
    events += [void(each) for each in acts if each.event.event_id in voided]
    Random(42).shuffle(events)
    system.environ["TOPTEN_BOARDS_KEYS"] = SHARDS
    async with system.worker(), system.worker():
        boards = await define(system, *DEFINED[:3], sharding=SHARDS)
        await publish(system, events[:250])
        boards = await define(system, *DEFINED[3:], sharding=SHARDS)
        await publish(system, events[250:])
        await assert_shown(system, boards, acts, voided)
        before = await system.until_complete()
        await system.redis.flushall()
        await system.until_complete(after=before)
        await assert_shown(system, boards, acts, voided)


@pytest.mark.usefixtures("open_weeks")
async def test_of_actions_at_one_moment_the_last_that_is_not_voided_is_shown(system: ScoreSystem) -> None:
    at = utc_now() - timedelta(minutes=1)
    first, second = (act("ada", 5, at, {"car": name}) for name in ("first", "second"))
    async with system.worker():
        boards = await define(system, *DEFINED)
        await publish(system, [first.event])
        await publish(system, [second.event])
        for definition in DEFINED:
            assert await shown(boards, definition.board("", "")) == {"ada": second.text}, definition.name
        await publish(system, [void(second)])
        for definition in DEFINED:
            assert await shown(boards, definition.board("", "")) == {"ada": first.text}, definition.name
        assert await shown(boards, Board("all")) == {"ada": first.text}
        assert await system.verify() == []


@pytest.mark.usefixtures("open_weeks")
async def test_metadata_leaves_and_comes_back_with_its_player(system: ScoreSystem) -> None:
    start = utc_now() - timedelta(minutes=1)
    acts = [
        act(name, 10 + n, start + timedelta(seconds=n), {"car": name}) for n, name in enumerate(("ada", "ben", "eve"))
    ]
    asia = Definition("asia", sources=RUN, segment="country:VN,TH")
    each_country = Definition("each", sources=RUN, segment="each-country")
    async with system.worker():
        boards = await define(system, *DEFINED, asia, each_country)
        await publish(system, [each.event for each in acts])
        await assert_shown(system, boards, acts, set())

        async def change(user_id: str, version: int, kind: str, country: str = "VN") -> None:
            event = account_change(user_id, version, kind).replace(b"VN", country.encode())
            await system.publish_bytes(user_id, event)
            await system.until_drained()

        await change("ada", 1, PLAYER_BLOCKED)
        await assert_shown(system, boards, acts, set(), hidden=frozenset({"ada"}))
        await change("ada", 2, PLAYER_UNBLOCKED)
        await change("ben", 1, COUNTRY_CHANGED, "TH")
        await assert_shown(system, boards, acts, set())
        assert (await shown(boards, asia.board("", ""))).keys() == {"ada", "ben", "eve"}
        assert (await shown(boards, Board("country", "VN"))).keys() == {"ada", "eve"}
        assert await shown(boards, Board("country", "TH")) == {"ben": '{"car":"ben"}'}
        assert await shown(boards, each_country.board("TH", "")) == {"ben": '{"car":"ben"}'}
        await change("eve", 1, PLAYER_ERASED)
        await assert_shown(system, boards, acts, set(), hidden=frozenset({"eve"}))
        kept = [key async for key in system.redis.scan_iter("*:shown") if await system.redis.hexists(key, "eve")]
        assert kept == []


@pytest.mark.usefixtures("open_weeks")
async def test_boards_have_nothing_of_actions_that_show_none(system: ScoreSystem) -> None:
    """Not of other types, and not of texts that are too long; nor do keys exist for it."""
    at = utc_now() - timedelta(minutes=1)
    longest = {"note": "x" * (MAX_METADATA - len('{"note":""}'))}
    acts = [act("ada", 5, at, {"car": "red"}, action_type="jump"), act("ben", 6, at)]
    too_long = act("cleo", 7, at, {"note": longest["note"] + "x"})
    async with system.worker():
        boards = await define(system, *DEFINED)
        await publish(system, [each.event for each in (*acts, too_long)])
        await assert_shown(system, boards, [*acts, too_long._replace(text="")], set())
        assert [key async for key in system.redis.scan_iter("*:shown")] == []
        index: Any = await system.database["ledger"].index_information()
        assert "shows_metadata" in str(index)
        assert await system.database["ledger"].count_documents({"shows_metadata": True}) == 0
        acts += [too_long._replace(text=""), act("dora", 8, at, longest)]
        await publish(system, [acts[-1].event])
        await assert_shown(system, boards, acts, set())
        assert len((await shown(boards, Board("all")))["dora"].encode()) == MAX_METADATA
        (shard,) = Sharding().shards(Board("all"))
        await system.redis.hset(shard.shown_key, "dora", '1 {"note":"forged"}')
        (finding,) = await system.verify()
        assert (finding.kind, finding.subject, "metadata" in finding.detail) == ("board", "all", True)
        await system.redis.hdel(shard.shown_key, "dora")
        assert len(await system.verify()) == 1


@pytest.mark.usefixtures("open_weeks")
async def test_reading_a_board_without_metadata_costs_no_command_for_it(system: ScoreSystem) -> None:
    at = utc_now() - timedelta(minutes=1)
    async with system.worker():
        boards = await define(system, Definition("shows", sources=RUN))
        await publish(system, [act("ada", 5, at, {"car": "red"}).event, act("ben", 6, at, action_type="jump").event])
        await publish(system, [act("ada", 5, at + timedelta(seconds=1), {"car": "blue"}, action_type="jump").event])
    for board, read in ((Board("custom", "shows"), 3), (Board("quiz", "nobody"), 2)):
        for question in (("head", 10), ("standings", ["ada"]), ("page", 10, None), ("around", "ada", 2)):
            await system.redis.config_resetstat()
            await boards.read(board, methodcaller(*question))
            calls: Any = await system.redis.info("commandstats")
            is_empty = board.kind == "quiz" and question[0] != "standings"
            # The meta, and of members the previous ranks and, if there is any, the metadata.
            assert calls["cmdstat_hmget"]["calls"] == (1 if is_empty else read), question


async def test_closed_period_keeps_metadata_beside_its_entries_until_the_player_is_erased(
    system: ScoreSystem, quiz: Quiz
) -> None:
    quiz.oldest = last_week()
    best = Definition("week-best", sources=RUN, aggregate="best", period="weekly")
    friends = replace(best, name="week-friends", segment=SEGMENT)
    acts = [
        act(name, 10 * n, last_week() + timedelta(seconds=n), {"car": f"{name}-{n}"})
        for n, name in enumerate(("ada", "ada", "ben", "eve", "cleo"))
    ]
    database = system.mongo.client[f"{system.prefix}_{DATABASE}"]
    async with system.worker():
        boards = await define(system, best, friends)
        of_friends = friends.board("", best.calendar.name_of(milliseconds_of(last_week())))
        board = best.board("", best.calendar.name_of(milliseconds_of(last_week())))
        await publish(system, [*(each.event for each in acts), act("dora", 5, last_week()).event])
        live = await shown(boards, board)
        assert live == expected(best, acts, set())
        assert await shown(boards, Board.parse("weekly", last_week())) == live
        quiz.oldest = utc_now()
        players = [user_id for user_id, _ in await archived(system, board)]
        assert players == ["cleo", "eve", "ben", "ada", "dora"]
        assert await shown(boards, board) == live
        assert len(await archived(system, of_friends)) == len(players)
        assert await shown(boards, of_friends) == {who: live[who] for who in ("ada", "eve")}
        archive = ArchiveStore(database, system.redis)
        assert (await archive.members(board)).metadata == live

        pseudonym = pseudonym_of(system.store.digests.chain("eve"))
        await archive.rename("eve", pseudonym)
        rest = {user_id: text for user_id, text in live.items() if user_id != "eve"}
        assert await shown(boards, board) == rest
        for each in (board, of_friends):
            made = (await archive.members(each)).closed
            assert made is not None
            of_eve = {"made": made.copy_id, "metadata": {"$regex": "eve"}}
            assert await database["closed_entries"].count_documents(of_eve) == 0

        # Nothing changes before a reseal, which shows what counts now.
        await system.publish_bytes("eve", account_change("eve", 1, PLAYER_ERASED))
        await publish(system, [void(acts[2]), act("ben", 3, last_week() + timedelta(minutes=1), {"car": "late"}).event])
        assert await shown(boards, board) == rest
        (resealed,) = await resealer_of(system, archive).reseal(board.name, "", "late", actor="m")
        assert resealed.changed == 3  # ben, and ada and dora, who pass them
        assert await shown(boards, board) == rest | {"ben": '{"car":"late"}'}
        assert await resealer_of(system, archive).reseal(board.name, "", "again", actor="m") == []
