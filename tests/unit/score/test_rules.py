"""The rules of fair play, and that a failing rule never affects a score."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY
from pymongo import AsyncMongoClient

from services.runtime.stores.incarnation import Incarnation
from services.score.config import parse_rules
from services.score.fairplay.flag_store import FlagStore
from services.score.fairplay.monitor import Blocker, FairPlayMonitor
from services.score.fairplay.rules import IMPOSSIBLE_TIME, SCORE_JUMP, TOO_MANY_ACTIONS, Limits, Suspicion, suspicions
from services.score.ledger.events import Change, Event
from services.score.ledger.folds.fold import Fold, apply, empty_fold, next_row
from services.streams import SCORE_ADJUSTED
from tests.deadline import eventually
from tests.servers import unique

LIMITS = Limits(points=1000, actions=10, question_ms=150)
MINUTE = 29_400_000
START = MINUTE * 60_000


def event(number: int, at: int, *, delta: int = 10, questions: int = 4, elapsed: int = -1) -> Event:
    return Event(
        f"e{number}", "ada", "q", delta, at, f"a{number}", number + 1, delta, questions=questions, elapsed=elapsed
    )


def judged(*events: Event) -> list[Suspicion]:
    fold: Fold = empty_fold("ada")
    found: list[Suspicion] = []
    for each in events:
        fold = apply(fold, next_row(fold, each, each.at))
        found += suspicions(each, fold, LIMITS)
    return found


def test_normal_play_is_not_suspicious() -> None:
    slow = [event(n, START + 20_000 * n, delta=200, elapsed=5000) for n in range(50)]
    assert judged(*slow) == []


def test_many_points_within_a_minute_are_a_jump() -> None:
    found = judged(*(event(n, START + 1000 * n, delta=300) for n in range(4)))
    assert [(seen.rule, seen.evidence["points"]) for seen in found] == [(SCORE_JUMP, 1200)]


def test_actions_count_only_within_the_last_sixty_seconds() -> None:
    burst = [event(n, START + 59_000 + n) for n in range(8)]
    soon, late = START + 61_000, START + 110_000
    assert [seen.rule for seen in judged(*burst, *(event(8 + n, soon + n) for n in range(4)))] == [TOO_MANY_ACTIONS]
    assert judged(*burst, *(event(8 + n, late + n) for n in range(4))) == []


def test_points_earned_faster_than_reading_are_impossible() -> None:
    quick = event(0, START, elapsed=599)
    (found,) = judged(quick)
    assert (found.rule, found.evidence) == (IMPOSSIBLE_TIME, {"elapsed_ms": 599, "limit_ms": 600, "questions": 4})
    # As the page writes the evidence beside it.
    (found,) = judged(event(0, START, elapsed=1_200, questions=10))
    assert found.reason == "10 questions read and answered in 1,200 ms, less than 1,500 ms"
    for fair in (event(0, START, elapsed=600), event(0, START), event(0, START, delta=0, elapsed=1)):
        assert judged(fair) == []


def test_moderator_adjustment_is_not_suspicious() -> None:
    prize = Event(
        "e", "ada", "", 9_000_000, START, "a", 0, 0, kind=SCORE_ADJUSTED, change=Change("moderator", "a prize")
    )
    assert judged(prize) == []


async def test_failing_rule_is_counted_and_raises_nothing() -> None:
    nowhere: Any = None
    monitor = FairPlayMonitor(nowhere, nowhere, limits=LIMITS, blocking=())
    before = REGISTRY.get_sample_value("topten_rule_failures_total") or 0
    await monitor.review([event(0, START)], {})
    assert REGISTRY.get_sample_value("topten_rule_failures_total") == before + 1


def test_only_existing_rules_can_block() -> None:
    assert parse_rules("score_jump, impossible_time") == (SCORE_JUMP, IMPOSSIBLE_TIME)
    assert parse_rules("") == ()
    with pytest.raises(ValueError, match="must be a comma list of"):
        parse_rules("bad_luck")


async def test_flag_that_a_restore_removed_is_stored_again(mongo_url: str) -> None:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url)
    async with client:
        database, blocker = client[unique("flags-")], cast("Blocker", None)
        flags = FlagStore(database)
        monitor = FairPlayMonitor(flags, blocker, limits=LIMITS, blocking=())
        quick = event(0, START, elapsed=1)
        folds = {"ada": apply(empty_fold("ada"), next_row(empty_fold("ada"), quick, START))}

        async def are_stored(count: int) -> bool:
            return await database["flags"].count_documents({}) == count

        for _ in range(2):
            await monitor.review([quick], folds)
            await eventually(partial(are_stored, 1), "the flag is stored")
        await database["flags"].delete_many({})
        await monitor.forget(Incarnation("other", 1))
        await monitor.review([quick], folds)
        await eventually(partial(are_stored, 1), "the flag is stored again")
        await client.drop_database(database.name)
