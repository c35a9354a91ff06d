"""Closed periods: closed once no more events can arrive, archived once, and unchanged from then on."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Collection
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from services.boards.board import Board, period_of
from services.boards.catalog import Catalog
from services.boards.definition import Definition
from services.boards.encoding import ENCODING
from services.boards.former_encoding import FORMER_ENCODING
from services.boards.periods.closed import DATABASE, ClosedBoard
from services.boards.proofs.pseudonyms import pseudonym_of
from services.runtime.clock import milliseconds_of, utc_now
from services.runtime.errors import Reason, ServiceError
from services.score.coordination_store import CoordinationStore, Reconciled
from services.score.definitions.service import BoardDefinitions
from services.score.definitions.store import DefinitionStore
from services.score.ledger.times import time_of
from services.score.periods.archive_store import ArchiveStore
from services.score.periods.closing import PeriodCloser
from services.score.projection.standings import Agreement
from services.streams import PLAYER_BLOCKED, PLAYER_ERASED, PLAYER_UNBLOCKED
from tests.deadline import eventually
from tests.system.boards.seeded import no_group
from tests.system.periods.closing import (
    LAST_WEEK,
    Quiz,
    account_change,
    archive_of_database,
    archived,
    in_last_week,
    last_week,
    quiz,
    resealer_of,
    system,
)
from tests.system.processes import service_process
from tests.system.score import (
    ScoreSystem,
    completed,
    random_events,
    totals_of,
)

__all__ = ["quiz", "system"]


async def test_period_is_archived_once_with_everything_recorded_by_its_end(system: ScoreSystem, quiz: Quiz) -> None:
    quiz.oldest = last_week()
    events = in_last_week(random_events(300, players=40, seed=5))
    totals = {user: total for user, total in totals_of(events).items() if total > 0}
    async with system.worker():
        await system.publish(*events[:200])
        await system.until_drained()
        assert (await CoordinationStore(system.database).boards()).closed_through == 0, (
            "something of it is not even published"
        )
        await system.publish(*events[200:])
        await system.until_drained()
        expected = await system.board(LAST_WEEK.name)
        assert dict(expected) == totals
        quiz.oldest = utc_now()
        assert await archived(system) == expected

        late = in_last_week([completed("player-0", 7, quiz_id="late"), completed("newcomer", 9)])
        await system.publish(*late, completed("newcomer", 1, quiz_id="now"))
        await system.until_drained()
        assert await system.board(LAST_WEEK.name) == expected
        assert dict(await system.board("all"))["newcomer"] == 10
        assert dict(await system.board("all"))["player-0"] == totals.get("player-0", 0) + 7
        assert await system.board("weekly") == [("newcomer", 1)]
        assert await system.verify() == []

        before = await system.until_complete()
        await system.redis.flushall()
        await system.until_complete(after=before)
        assert await system.board(LAST_WEEK.name) == expected
    assert await archived(system) == expected


class _FailingArchive(ArchiveStore):
    """Dies after the new entries are written and before the board is replaced."""

    async def _commit(self, former: ClosedBoard | None, closed: ClosedBoard, record: dict[str, Any]) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("encoding", [FORMER_ENCODING, ENCODING])
async def test_reseal_applies_what_became_known_after_the_closing(
    system: ScoreSystem, quiz: Quiz, encoding: int
) -> None:
    """Also to a period that was closed beside a worker of the version before: it stays in its encoding."""
    if encoding == FORMER_ENCODING:
        await system.add_former_worker()
        system.placement.adopt(system.placement.agreement._replace(encoding=encoding))
    quiz.oldest = last_week()
    names = ("ada", "ben", "cleo", "dora")
    events = in_last_week([completed(name, 40 - 10 * n, total=40 - 10 * n) for n, name in enumerate(names)])
    database = system.mongo.client[f"{system.environ['TOPTEN_MONGO_DATABASE']}_{DATABASE}"]
    async with system.worker():
        await system.publish(*events)
        await system.publish_bytes("ada", account_change("ada", 1, PLAYER_BLOCKED))
        await system.until_drained()
        archive = ArchiveStore(database, system.redis)
        resealer = resealer_of(system, archive)
        with pytest.raises(ServiceError) as refused:
            await resealer.reseal(LAST_WEEK.name, "", "too early", actor="m")
        assert refused.value.reason is Reason.INVALID_ARGUMENT
        quiz.oldest = utc_now()
        former = await archived(system)
        assert former == [("ben", 30), ("cleo", 20), ("dora", 10)]
        closed = (await archive.members(LAST_WEEK)).closed
        assert closed is not None
        assert closed.encoding == encoding
        if encoding == FORMER_ENCODING:  # the worker of the former version ends; that changes no closed period
            await system.remove_former_worker()
            system.placement.adopt(Agreement(system.placement.catalog, 0))
            await eventually(partial(system.is_built_in, ENCODING), "boards in this version's encoding")
        assert await resealer.reseal(LAST_WEEK.name, "", "nothing happened", actor="m") == []

        # An acquittal, a sanction, points taken back, an erasure, and an event that came late.
        await system.publish_bytes("ada", account_change("ada", 2, PLAYER_UNBLOCKED))
        await system.publish_bytes("ben", account_change("ben", 1, PLAYER_BLOCKED))
        await system.publish_bytes("dora", account_change("dora", 1, PLAYER_ERASED))
        void, late = completed("cleo", -5, attempt=2, total=15), completed("eve", 18)
        await system.publish(*in_last_week([void, late]))
        await system.until_drained()
        pseudonym = pseudonym_of(system.store.digests.chain("dora"))
        await archive.rename("dora", pseudonym)
        assert await archived(system) == [*former[:2], (pseudonym, 10)]

        with pytest.raises(NotImplementedError):
            await resealer_of(system, _FailingArchive(database, system.redis)).reseal(
                LAST_WEEK.name, "", "interrupted", actor="m"
            )
        assert await archived(system) == [*former[:2], (pseudonym, 10)]

        (for_ada,) = await resealer.reseal(LAST_WEEK.name, "ada", "acquitted", actor="m")
        assert await archived(system) == [("ada", 40), *former[:2], (pseudonym, 10)]
        assert for_ada.changes[0] == ("ada", 0, 1, 0, 40)
        assert for_ada.changed == 4
        (for_all,) = await resealer.reseal(LAST_WEEK.name, "", "the whole week", actor="m")
        assert await archived(system) == [("ada", 40), ("eve", 18), ("cleo", 15), (pseudonym, 10)]
        assert for_all.version == for_ada.version + 1
        assert await resealer.reseal(LAST_WEEK.name, "", "again", actor="m") == []

        record = await database["reseals"].find_one({"reason": "the whole week"})
        assert record is not None
        assert (record["by"], record["board"], record["changed"]) == ("m", LAST_WEEK.name, 3)
        assert await database["closed_entries"].count_documents({"made": record["former"]}) == 4
        # An erasure reaches former versions and the record, too.
        await archive.rename("ben", "erased-00")
        assert await database["closed_entries"].count_documents({"user_id": "ben"}) == 0
        assert await database["reseals"].count_documents({"changes.user_id": "ben"}) == 0
        assert await system.verify() == []


async def test_defined_boards_are_closed_in_their_own_calendar_and_resealed(system: ScoreSystem, quiz: Quiz) -> None:
    quiz.oldest = last_week()
    database = system.mongo.client[f"{system.environ['TOPTEN_MONGO_DATABASE']}_{DATABASE}"]
    store = DefinitionStore(database)
    definitions = BoardDefinitions(store, lambda: system.placement.catalog, no_group, now=utc_now)
    weekly = Definition("attempts", sources=("quiz:capitals",), aggregate="count", period="weekly")
    daily = Definition("fewest", sources=("quiz:capitals",), order="asc", period="daily", time_zone="Asia/Tokyo")
    scores = {"ada": 40, "ben": 30, "cleo": 20}
    async with system.worker():
        await system.publish(*in_last_week([completed(name, points, total=points) for name, points in scores.items()]))
        await system.until_drained()
        for definition in (weekly, daily):
            await definitions.put(definition, actor="m")

        async def is_ready() -> bool:
            return all(each.state == "ready" for each in (await store.read()).boards.values())

        await eventually(is_ready, "boards that are ready")
        system.placement.adopt(Agreement(await store.catalog(""), 0))
        week = weekly.board("", weekly.calendar.name_of(milliseconds_of(last_week())))
        day = daily.board("", daily.calendar.name_of(milliseconds_of(last_week())))
        quiz.oldest = utc_now()
        assert dict(await archived(system)) == scores
        assert dict(await archived(system, week)) == dict.fromkeys(scores, 1)
        assert [(name, 2**31 - points) for name, points in await archived(system, day)] == [
            ("cleo", 20),
            ("ben", 30),
            ("ada", 40),
        ]
        archive = ArchiveStore(database, system.redis)
        closed = (await archive.members(day)).closed
        assert closed is not None
        period = daily.calendar.period(day.name.rpartition(":")[2])
        assert period is not None
        assert (closed.ascending, closed.starts_at) == (True, period.starts_at)
        resealer = resealer_of(system, archive)
        assert await resealer.reseal(LAST_WEEK.name, "", "nothing happened", actor="m") == []
        assert await resealer.reseal(day.name, "", "nothing happened", actor="m") == []

        void = completed("cleo", -20, attempt=2, total=0)
        await system.publish(*in_last_week([void, completed("ben", 5, attempt=2, total=35)]))
        await system.until_drained()
        assert dict(await archived(system, week)) == dict.fromkeys(scores, 1)
        resealed = {each.board for each in await resealer.reseal(LAST_WEEK.name, "", "late attempts", actor="m")}
        assert resealed == {LAST_WEEK.name, week.name}, "the board of the day is of another period"
        assert dict(await archived(system, week)) == {"ada": 1, "ben": 2, "cleo": 2}
        (of_day,) = await resealer.reseal(day.name, "", "late attempts", actor="m")
        assert [change[:3] for change in of_day.changes] == [("ben", 2, 1), ("ada", 3, 2), ("cleo", 1, 0)]
        with pytest.raises(ServiceError) as refused:
            await resealer.reseal("custom:fewest", "", "which day", actor="m")
        assert refused.value.reason is Reason.INVALID_ARGUMENT
        assert await system.verify() == []


async def test_period_stays_open_while_a_suspended_worker_may_write_to_it(system: ScoreSystem, quiz: Quiz) -> None:
    """It still has rows of the period to insert. They must be in the archive, or be late."""
    quiz.oldest = last_week()
    events = in_last_week(random_events(1200, players=40, seed=6))
    async with system.worker(TOPTEN_SCORE_BATCH="20") as suspended, system.worker(TOPTEN_SCORE_BATCH="20"):
        publishing = asyncio.create_task(system.publish(*events))
        await system.until_counted(200)
        os.kill(suspended.pid, signal.SIGSTOP)
        rows = await system.database["ledger"].estimated_document_count()
        await system.until_counted(min(rows + 300, len(events)))
        await publishing
        # As if all of it had been recorded later: each remaining event must either count in the period or be late.
        period = period_of(LAST_WEEK)
        assert period is not None
        await CoordinationStore(system.database).close_periods(milliseconds_of(period.ends_at))
        os.kill(suspended.pid, signal.SIGCONT)
        quiz.oldest = None
        entries = await archived(system)
        await system.until_drained()
        assert entries == await system.board(LAST_WEEK.name)
        assert await system.verify() == []
        documents = system.mongo.client[f"{system.environ['TOPTEN_MONGO_DATABASE']}_{DATABASE}"]
        assert await documents["closed"].count_documents({"_id": LAST_WEEK.name}) == 1
        assert await documents["closing"].count_documents({}) == 0
        assert await documents["closed_entries"].count_documents({}) >= len(entries)


async def test_worker_whose_clock_is_a_day_ahead_closes_no_period_early(system: ScoreSystem, quiz: Quiz) -> None:
    quiz.oldest = utc_now() + timedelta(days=2)
    store = DefinitionStore(system.mongo.client[f"{system.environ['TOPTEN_MONGO_DATABASE']}_{DATABASE}"])
    definitions = BoardDefinitions(store, lambda: system.placement.catalog, no_group, now=utc_now)
    ends_at = utc_now().replace(microsecond=0) + timedelta(hours=2)
    await definitions.put(Definition("tonight", period=f"range:2026-01-01/{ends_at.isoformat()}"), actor="m")
    coordination = CoordinationStore(system.database)

    async def closed_through() -> datetime:
        return time_of((await coordination.boards()).closed_through)

    async def is_closed() -> bool:
        return milliseconds_of(await closed_through()) > 0

    ahead = ("tests.faults.shifted", "score", str(int(timedelta(days=1).total_seconds())))
    with service_process("score", system.environ, ahead) as worker:
        await worker.start()
        await system.publish(completed("ada", 40))
        await system.until_drained()
        await eventually(is_closed, "the week before is closed")
        assert await closed_through() < ends_at
        await worker.stop()
    async with system.worker():
        await system.publish(completed("ada", 2, attempt=2, total=42))
        await system.until_drained()
        assert dict(await system.board("weekly")) == {"ada": 42}


async def test_period_is_closed_by_the_stream_that_has_its_events_and_by_no_former_one(system: ScoreSystem) -> None:
    """What lay in a stream that was lost must be published again first; sequences of another stream say nothing."""
    coordination = CoordinationStore(system.database)
    await coordination.salt()
    await coordination.prepare()
    stream: list[tuple[str, int, int]] = []

    async def nothing() -> None:
        return None

    async def stream_state() -> tuple[str, int, int]:
        return stream[-1]

    async def no_boards() -> list[Board]:
        return []

    async def run_ids() -> str:
        return ""

    async def mark_kept(_names: Collection[str]) -> None:
        return None

    closer = PeriodCloser(
        coordination,
        ArchiveStore(archive_of_database(system), system.redis),
        lambda: "data",
        nothing,
        stream_state,
        no_boards,
        run_ids,
        Catalog,
        mark_kept,
        "worker",
        delay=timedelta(),
        retention=timedelta(days=1),
    )

    async def is_closed_at(created: str, first: int, last: int, *, compared: str) -> bool:
        reconciled = Reconciled("data", compared, milliseconds_of(utc_now()))
        assert await coordination.record_reconciled(reconciled, coordination.identity)
        stream.append((created, first, last))
        await closer.step()
        return (await coordination.boards()).closed_through > 0

    assert not await is_closed_at("first", 5, 9, compared="first"), "it has five messages of the period"
    assert not await is_closed_at("second", 1, 0, compared="first"), "these were lost with it"
    assert not await is_closed_at("second", 1, 5, compared="second"), "they were published again"
    assert await is_closed_at("second", 6, 5, compared="second")
