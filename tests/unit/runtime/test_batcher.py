"""Many callers share calls and not outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from services.runtime.batcher import Batcher
from tests.deadline import deadline


class Work:
    """Doubles numbers when the test lets it; refuses those below 0, and every item of a call that has a 13."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.may = asyncio.Event()

    async def __call__(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.calls.append(list(items))
        await self.may.wait()
        if 13 in items:
            raise LookupError
        return [2 * item if item >= 0 else ValueError(item) for item in items]


async def test_items_that_arrive_during_a_call_share_the_next_one() -> None:
    work = Work()
    doubled = Batcher("doubling", work, max_size=3)
    first = asyncio.gather(*map(doubled, (1, 2)))
    while not work.calls:
        await asyncio.sleep(0)
    rest = asyncio.gather(*(doubled(number) for number in range(3, 8)))
    await asyncio.sleep(0)
    work.may.set()
    assert await first == [2, 4]
    assert await rest == [6, 8, 10, 12, 14]
    assert work.calls == [[1, 2], [3, 4, 5], [6, 7]]


async def test_concurrent_calls_are_bounded() -> None:
    work = Work()
    doubled = Batcher("doubling", work, max_size=1, max_concurrent=2)
    asked = [asyncio.create_task(doubled(number)) for number in range(5)]
    while len(work.calls) < 2:
        await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(work.calls) == 2
    work.may.set()
    assert await asyncio.gather(*asked) == [0, 2, 4, 6, 8]


async def test_quick_calls_follow_one_another() -> None:
    work = Work()
    work.may.set()
    doubled = Batcher("doubling", work, max_size=10, max_concurrent=2, patience=3600.0)
    first = asyncio.create_task(doubled(1))
    while not work.calls:
        await asyncio.sleep(0)
    assert await asyncio.gather(first, *map(doubled, (2, 3, 4))) == [2, 4, 6, 8]
    assert work.calls == [[1], [2, 3, 4]]


async def test_a_slow_call_does_not_hold_up_the_others() -> None:
    work = Work()
    doubled = Batcher("doubling", work, max_size=10, max_concurrent=2, patience=0.001)
    asked = [asyncio.create_task(doubled(1))]
    while not work.calls:
        await asyncio.sleep(0)
    asked += [asyncio.create_task(doubled(number)) for number in (2, 3)]
    async with deadline("a call starts beside the first"):
        while len(work.calls) < 2:
            await asyncio.sleep(0)
    asked.append(asyncio.create_task(doubled(4)))
    await asyncio.sleep(0.005)  # longer than the patience: still at most two
    assert work.calls == [[1], [2, 3]]
    work.may.set()
    assert await asyncio.gather(*asked) == [2, 4, 6, 8]


class Clock:
    """The time of the event loop, which passes only when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = asyncio.get_running_loop().time()
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)


async def answered_after_five_seconds(work: Work, doubled: Batcher[int, int], clock: Clock) -> asyncio.Task[int]:
    """Have a call with 1 and 2 take five seconds, during which 3 is added; return the task that awaits 3."""
    first = asyncio.gather(*map(doubled, (1, 2)))
    while not work.calls:
        await asyncio.sleep(0)
    waiting = asyncio.create_task(doubled(3))
    clock.now += 5.0
    work.may.set()
    assert await first == [2, 4]
    return waiting


async def test_what_responses_cause_shares_the_next_call_if_they_were_many(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, work = Clock(monkeypatch), Work()
    doubled = Batcher("doubling", work, max_size=4, patience=3600.0, many=2)
    waiting = await answered_after_five_seconds(work, doubled, clock)
    again = asyncio.create_task(doubled(4))
    for elapsed in (4.0, 1.0):  # as long again
        for _ in range(10):
            await asyncio.sleep(0)
        assert work.calls == [[1, 2]]
        clock.now += elapsed
    assert await again == 8
    assert await waiting == 6
    assert work.calls == [[1, 2], [3, 4]]


async def test_a_call_waits_no_longer_once_all_who_were_answered_are_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, work = Clock(monkeypatch), Work()
    doubled = Batcher("doubling", work, max_size=10, patience=3600.0, many=2)
    waiting = await answered_after_five_seconds(work, doubled, clock)
    assert await asyncio.gather(waiting, *map(doubled, (4, 5))) == [6, 8, 10]
    assert work.calls == [[1, 2], [3, 4, 5]]


async def test_a_full_call_and_one_after_few_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = asyncio.get_running_loop().time()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock)
    work = Work()
    doubled = Batcher("doubling", work, max_size=2, patience=3600.0, many=2)
    asked = [asyncio.create_task(doubled(number)) for number in range(5)]
    while not work.calls:
        await asyncio.sleep(0)
    clock += 5.0
    work.may.set()
    assert await asyncio.gather(*asked[:4]) == [0, 2, 4, 6], "the second call is full"
    clock += 5.0
    assert await asked[4] == 8
    clock += 5.0  # of that call, which had few
    assert await doubled(5) == 10
    assert work.calls == [[0, 1], [2, 3], [4], [5]]


async def test_each_item_has_its_own_outcome() -> None:
    work = Work()
    work.may.set()
    doubled = Batcher("doubling", work, max_size=10)
    outcomes = await asyncio.gather(doubled(4), doubled(-1), doubled(4), return_exceptions=True)
    assert outcomes[0] == outcomes[2] == 8
    assert isinstance(outcomes[1], ValueError)
    for outcome in await asyncio.gather(doubled(13), doubled(1), return_exceptions=True):
        assert isinstance(outcome, LookupError)
    assert await doubled(5) == 10, "a call that failed keeps nobody from the next"


async def test_an_item_that_times_out_does_not_affect_the_others() -> None:
    work = Work()
    doubled = Batcher("doubling", work, max_size=10)
    waiting = asyncio.create_task(doubled(2))
    with pytest.raises(TimeoutError):
        await doubled(1, timeout=0.001)
    work.may.set()
    assert await waiting == 4
    assert await doubled(3, timeout=3600.0) == 6
    assert work.calls == [[1, 2], [3]]


async def test_a_cancelled_item_does_not_affect_the_others() -> None:
    work = Work()
    doubled = Batcher("doubling", work, max_size=10)
    given_up, waiting = asyncio.create_task(doubled(1)), asyncio.create_task(doubled(2))
    while not work.calls:
        await asyncio.sleep(0)
    given_up.cancel()
    work.may.set()
    assert await waiting == 4
    with pytest.raises(asyncio.CancelledError):
        await given_up


async def test_callers_are_awaited_as_many_times_as_long_as_the_call_took(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = asyncio.get_running_loop().time()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock)
    work = Work()
    doubled = Batcher("doubling", work, max_size=4, patience=3600.0, many=2, linger=3.0)
    first = asyncio.gather(*map(doubled, (1, 2)))
    while not work.calls:
        await asyncio.sleep(0)
    clock += 5.0  # what the call takes
    work.may.set()
    assert await first == [2, 4]
    again = asyncio.create_task(doubled(3))
    for elapsed in (14.0, 1.0):
        for _ in range(10):
            await asyncio.sleep(0)
        assert work.calls == [[1, 2]], "the other may still come back"
        clock += elapsed
    assert await again == 6
    assert work.calls == [[1, 2], [3]]
