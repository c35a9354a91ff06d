"""Every accepted action, held against the ledger by its event id: counted once as it was recorded, or known to wait.

Asks the quiz service what was accepted and the score service what became of it. Changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from topten.quiz.v1 import quiz_service_pb2
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub
from topten.score.v1 import score_pb2, score_service_pb2
from topten.score.v1.score_service_pb2_grpc import ScoreServiceStub

from services.local.client import Endpoints
from services.runtime.grpc_client import call, open_stream

if TYPE_CHECKING:
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub
    from topten.score.v1.score_service_pb2_grpc import ScoreServiceAsyncStub

PAGE: Final = 500
PAUSE_SECONDS: Final = 0.5

Submitted = quiz_service_pb2.SubmittedEvent


@dataclass
class Account:
    """What became of the accepted actions; `findings` are those that are not as they should be, a line each."""

    accepted: int = 0
    counted: int = 0
    dead: int = 0
    waiting: int = 0
    findings: list[str] = field(default_factory=list)


async def account(endpoints: Endpoints, progress: Callable[[score_pb2.Progress], None], *, patience: float) -> Account:
    """Follow every accepted action. Raises ServiceError if a service does not answer.

    What is in neither place may be on its way: to a worker that died it is delivered again after its ack wait. It is
    asked for again for `patience` seconds before it is called missing.
    """
    found = Account()
    missing: list[Submitted] = []
    async with (
        endpoints.operator() as token,
        endpoints.channel("quiz") as quiz_channel,
        endpoints.channel("score") as score_channel,
    ):
        quiz = cast("QuizServiceAsyncStub", QuizServiceStub(quiz_channel))
        score = cast("ScoreServiceAsyncStub", ScoreServiceStub(score_channel))
        request = quiz_service_pb2.ListSubmittedEventsRequest()
        async with open_stream(quiz.ListSubmittedEvents, request, token=token) as pages:
            async for page in pages:
                found.accepted += len(page.events)
                missing += await _locate(score, token, page.events, found)
                progress(
                    score_pb2.Progress(
                        stage="following accepted actions", done=found.accepted, total=max(page.total, found.accepted)
                    )
                )
        deadline = time.monotonic() + patience
        while missing and time.monotonic() < deadline:
            await asyncio.sleep(PAUSE_SECONDS)
            missing = [event for page in _pages(missing) for event in await _locate(score, token, page, found)]
    for event in missing:
        if event.published:
            found.findings.append(f"event {event.event_id}: accepted from player {event.user_id} and counted nowhere")
        else:
            found.waiting += 1
    return found


async def _locate(
    score: ScoreServiceAsyncStub, token: str, events: Sequence[Submitted], found: Account
) -> list[Submitted]:
    """Add to `found` what became of these events; those of which nothing is known yet."""
    if not events:
        return []
    request = score_service_pb2.LocateEventsRequest(event_ids=[event.event_id for event in events])
    answer = await call(score.LocateEvents, request, token=token)
    missing = []
    for event, location in zip(events, answer.locations, strict=True):
        if location.place == score_pb2.EVENT_PLACE_LEDGER:
            found.counted += 1
            if (location.user_id, location.delta) != (event.user_id, event.score_delta):
                found.findings.append(
                    f"event {event.event_id}: accepted as {event.score_delta:+} for {event.user_id}, "
                    f"counted as {location.delta:+} for {location.user_id}"
                )
        elif location.place == score_pb2.EVENT_PLACE_DEAD_LETTER:
            found.dead += 1
        else:
            missing.append(event)
    return missing


def _pages(events: Sequence[Submitted]) -> Iterable[Sequence[Submitted]]:
    return (events[start : start + PAGE] for start in range(0, len(events), PAGE))
