"""The events on record at the services that publish to the stream: quiz its submissions, identity its account changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from topten.identity.v1 import identity_service_pb2 as identity
from topten.quiz.v1 import quiz_service_pb2 as quiz

from services.runtime.auth.service_token import ServiceToken
from services.runtime.grpc.client import call, open_stream
from services.streams import (
    ACTION_COMPLETED,
    ACTION_REJUDGED,
    ACTION_VOIDED,
    COUNTRY_CHANGED,
    PLAYER_BLOCKED,
    PLAYER_ERASED,
    PLAYER_UNBLOCKED,
    PROFILE_CHANGED,
    QUIZ_COMPLETED,
    SCORE_ADJUSTED,
)

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub

MAX_PAGE = 500
# Records are restored one by one.
MAX_RESTORED = 50
T = TypeVar("T")


class RecordedEvent(NamedTuple):
    """An event on record, and whether the stream acknowledged it."""

    event_id: str
    published: bool


class RecordedEvents:
    """The recorded events of one service. Every method raises ServiceError if the service is unavailable.

    `is_in_order` is whether `since` yields them in the order of their ids, which are UUIDv7.
    """

    def __init__(
        self,
        name: str,
        kinds: frozenset[str],
        list_rpc: Any,
        list_request: Any,
        republish_rpc: Any,
        republish_request: Any,
        restore_rpc: Any,
        restore_request: Any,
        token: ServiceToken,
        *,
        is_in_order: bool,
    ) -> None:
        self.name = name
        self.is_in_order = is_in_order
        self.kinds = kinds
        self._list_rpc = list_rpc
        self._list_request = list_request
        self._republish_rpc = republish_rpc
        self._republish_request = republish_request
        self._restore_rpc = restore_rpc
        self._restore_request = restore_request
        self._token = token

    @classmethod
    def of_quiz(cls, stub: QuizServiceAsyncStub, token: ServiceToken) -> Self:
        """Return the events of submissions and amendments."""
        return cls(
            "quiz",
            frozenset({QUIZ_COMPLETED, ACTION_COMPLETED, ACTION_VOIDED, ACTION_REJUDGED, SCORE_ADJUSTED}),
            stub.ListSubmittedEvents,
            quiz.ListSubmittedEventsRequest,
            stub.RepublishEvents,
            quiz.RepublishEventsRequest,
            stub.RestoreRecords,
            quiz.RestoreRecordsRequest,
            token,
            is_in_order=True,
        )

    @classmethod
    def of_identity(cls, stub: IdentityServiceAsyncStub, token: ServiceToken) -> Self:
        """Return the events of account changes."""
        return cls(
            "identity",
            frozenset({PLAYER_BLOCKED, PLAYER_UNBLOCKED, COUNTRY_CHANGED, PROFILE_CHANGED, PLAYER_ERASED}),
            stub.ListAccountEvents,
            identity.ListAccountEventsRequest,
            stub.RepublishAccountEvents,
            identity.RepublishAccountEventsRequest,
            stub.RestoreAccountRecords,
            identity.RestoreAccountRecordsRequest,
            token,
            is_in_order=False,  # in that of their records
        )

    async def since(self, at: datetime) -> AsyncGenerator[list[RecordedEvent], None]:
        """Yield the events made at or after a time, oldest first, up to 500 at a time."""
        since = Timestamp()
        since.FromDatetime(at)
        request = self._list_request(since=since)
        async with open_stream(self._list_rpc, request, token=await self._token.get(), in_background=True) as pages:
            async for page in pages:
                yield [RecordedEvent(event.event_id, event.published) for event in page.events]

    async def republish(self, event_ids: Sequence[str]) -> int:
        """Have events published again, and return how many are on record."""
        return len(await self._republish(event_ids, only_check=False))

    async def recorded(self, event_ids: Sequence[str]) -> set[str]:
        """Return those of the events that are on record."""
        return await self._republish(event_ids, only_check=True)

    async def restore(self, events: Sequence[tuple[bytes, bool]]) -> list[bytes]:
        """Have the records of events restored; each is given with whether it is counted.

        Return each event as it is on record; empty if it must not count.
        """
        restored: list[bytes] = []
        for page in _pages(events, MAX_RESTORED):
            request = self._restore_request()
            for event, is_counted in page:
                request.events.add(event=event, counted=is_counted)
            response = await call(self._restore_rpc, request, token=await self._token.get())
            restored += [record.event for record in response.records]
        return restored

    async def _republish(self, event_ids: Sequence[str], *, only_check: bool) -> set[str]:
        found: set[str] = set()
        for page in _pages(event_ids):
            request = self._republish_request(event_ids=page, only_check=only_check)
            found.update((await call(self._republish_rpc, request, token=await self._token.get())).event_ids)
        return found


def _pages(items: Sequence[T], size: int = MAX_PAGE) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
