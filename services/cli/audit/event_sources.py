"""The services that record the events which the ledger counts: quiz its submissions, identity its account changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

from topten.identity.v1 import identity_service_pb2 as identity
from topten.quiz.v1 import quiz_service_pb2 as quiz

from services.cli.system.client import Endpoints
from services.cli.system.operator_client import BULK_CALL_SECONDS, identity_service, quiz_service
from services.runtime.grpc.client import call, open_stream


class RecordedEvent(NamedTuple):
    """An event on record: the points that it changes, and whether it was published to the stream."""

    event_id: str
    user_id: str
    delta: int
    published: bool


class EventSource:
    """The recorded events of one service. Every method raises ServiceError if the service is unavailable.

    `list_rpc` streams pages of `events` with their `total`; `republish_rpc` takes `event_ids` and `only_check`.
    """

    def __init__(
        self, name: str, kinds: set[str], token: str, list_rpc: Any, list_request: Any, republish_rpc: Any, request: Any
    ) -> None:
        self.name = name
        self.kinds = kinds
        self._token = token
        self._list_rpc = list_rpc
        self._list_request = list_request
        self._republish_rpc = republish_rpc
        self._republish_request = request

    async def pages(self) -> AsyncIterator[tuple[list[RecordedEvent], int]]:
        """Yield all events, up to 500 at a time, with their approximate total."""
        async with open_stream(self._list_rpc, self._list_request, token=self._token) as pages:
            async for page in pages:
                # An account change moves no points and has no field for them.
                events = [
                    RecordedEvent(event.event_id, event.user_id, getattr(event, "score_delta", 0), event.published)
                    for event in page.events
                ]
                yield events, page.total

    async def republish(self, event_ids: Sequence[str]) -> set[str]:
        """Publish up to 500 events again; return the ids that are recorded here."""
        return await self._republish(event_ids, only_check=False)

    async def recorded(self, event_ids: Sequence[str]) -> set[str]:
        """Return those of up to 500 ids that are recorded here."""
        return await self._republish(event_ids, only_check=True)

    async def _republish(self, event_ids: Sequence[str], *, only_check: bool) -> set[str]:
        request = self._republish_request(event_ids=event_ids, only_check=only_check)
        response = await call(self._republish_rpc, request, token=self._token, timeout=BULK_CALL_SECONDS)
        return set(response.event_ids)


@asynccontextmanager
async def open_event_sources(endpoints: Endpoints) -> AsyncIterator[Sequence[EventSource]]:
    """Open every service that records events."""
    async with AsyncExitStack() as stack:
        quizzes, token = await stack.enter_async_context(quiz_service(endpoints))
        accounts, _ = await stack.enter_async_context(identity_service(endpoints))
        yield (
            EventSource(
                "accepted actions",
                {"QUIZ_COMPLETED", "ACTION_COMPLETED", "ACTION_VOIDED", "ACTION_REJUDGED", "SCORE_ADJUSTED"},
                token,
                quizzes.ListSubmittedEvents,
                quiz.ListSubmittedEventsRequest(),
                quizzes.RepublishEvents,
                quiz.RepublishEventsRequest,
            ),
            EventSource(
                "account changes",
                {"PLAYER_BLOCKED", "PLAYER_UNBLOCKED", "COUNTRY_CHANGED", "PROFILE_CHANGED", "PLAYER_ERASED"},
                token,
                accounts.ListAccountEvents,
                identity.ListAccountEventsRequest(),
                accounts.RepublishAccountEvents,
                identity.RepublishAccountEventsRequest,
            ),
        )
