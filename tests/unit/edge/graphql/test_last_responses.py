"""The last responses: when one stands in for a response that cannot be had."""

from __future__ import annotations

import pytest

from edge.graphql.execution.last_responses import MAX_AGE_SECONDS, MAX_SUBJECTS, LastResponses
from services.runtime.errors import Reason, ServiceError


async def succeeding(response: str) -> str:
    return response


async def failing(reason: Reason = Reason.UNAVAILABLE) -> str:
    raise ServiceError(reason, "no")


async def test_the_last_response_stands_in_for_an_unavailable_service() -> None:
    last = LastResponses()
    assert await last.get(("head", "all"), succeeding("old")) == ("old", False)
    assert await last.get(("head", "all"), succeeding("new")) == ("new", False)
    assert await last.get(("head", "all"), failing()) == ("new", True)


@pytest.mark.parametrize(("key", "reason"), [("weekly", Reason.UNAVAILABLE), ("all", Reason.BOARD_NOT_FOUND)])
async def test_no_other_request_and_no_other_reason_has_a_stand_in(key: str, reason: Reason) -> None:
    last = LastResponses()
    last.put(("head", "all"), "kept")
    with pytest.raises(ServiceError) as caught:
        await last.get(("head", key), failing(reason))
    assert caught.value.reason is reason


async def test_a_response_stands_in_for_less_than_an_hour() -> None:
    now = [0.0]
    last = LastResponses(timer=lambda: now[0])
    last.put(("head", "all"), "kept")
    now[0] = MAX_AGE_SECONDS - 1
    assert (await last.get(("head", "all"), failing()))[1]
    now[0] += 1
    with pytest.raises(ServiceError):
        await last.get(("head", "all"), failing())


async def test_the_latest_subjects_are_kept() -> None:
    last = LastResponses()
    for number in range(MAX_SUBJECTS + 1):
        last.put(("head", f"quiz:{number}", 10), "kept")
    assert await last.get(("head", f"quiz:{MAX_SUBJECTS}", 10), failing()) == ("kept", True)
    with pytest.raises(ServiceError):
        await last.get(("head", "quiz:0", 10), failing())


async def test_few_sizes_of_a_board_are_kept_and_they_take_nothing_from_others() -> None:
    last = LastResponses()
    last.put(("head", "all", 10), "kept")
    for kind in ("head", "page"):
        for board in ("weekly", "monthly"):
            for size in range(1, 1001):
                last.put((kind, board, size), "kept")
    assert await last.get(("head", "all", 10), failing()) == ("kept", True)
    assert await last.get(("head", "weekly", 1000), failing()) == ("kept", True)
    for size in range(1, 990):
        with pytest.raises(ServiceError):
            await last.get(("head", "weekly", size), failing())
