"""The last answers: when one stands for an answer that can't be had."""

from __future__ import annotations

import pytest

from edge.graphql.last_answers import MAX_AGE_SECONDS, MAX_KEPT, LastAnswers
from services.runtime.errors import Reason, ServiceError


async def answering(answer: str) -> str:
    return answer


async def failing(reason: Reason = Reason.UNAVAILABLE) -> str:
    raise ServiceError(reason, "no")


async def test_the_last_answer_stands_for_one_that_cannot_be_had() -> None:
    last = LastAnswers()
    assert await last.ask(("head", "all"), answering("old")) == ("old", False)
    assert await last.ask(("head", "all"), answering("new")) == ("new", False)
    assert await last.ask(("head", "all"), failing()) == ("new", True)


@pytest.mark.parametrize(("key", "reason"), [("weekly", Reason.UNAVAILABLE), ("all", Reason.BOARD_NOT_FOUND)])
async def test_no_other_answer_and_no_other_reason_is_covered_up(key: str, reason: Reason) -> None:
    last = LastAnswers()
    last.keep(("head", "all"), "kept")
    with pytest.raises(ServiceError) as caught:
        await last.ask(("head", key), failing(reason))
    assert caught.value.reason is reason


async def test_an_answer_is_given_for_an_hour_at_most() -> None:
    now = [0.0]
    last = LastAnswers(clock=lambda: now[0])
    last.keep(("head", "all"), "kept")
    now[0] = MAX_AGE_SECONDS
    assert (await last.ask(("head", "all"), failing()))[1]
    now[0] += 1
    with pytest.raises(ServiceError):
        await last.ask(("head", "all"), failing())


async def test_the_oldest_are_forgotten() -> None:
    last = LastAnswers()
    for limit in range(MAX_KEPT + 1):
        last.keep(("head", limit), str(limit))
    assert await last.ask(("head", MAX_KEPT), failing()) == (str(MAX_KEPT), True)
    with pytest.raises(ServiceError):
        await last.ask(("head", 0), failing())
