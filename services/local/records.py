"""Who has on record what the ledger counts: the quiz service its submissions, the identity service its accounts' changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from topten.identity.v1 import identity_service_pb2 as identity
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from topten.quiz.v1 import quiz_service_pb2 as quiz
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub

from services.local.client import Endpoints
from services.runtime.grpc_client import call, open_stream

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub


class Recorded(NamedTuple):
    """An event on record: what it changes, and whether the stream has taken it over."""

    event_id: str
    user_id: str
    delta: int
    published: bool


class Records(Protocol):
    """The events of one service. Every method raises ServiceError if it does not answer."""

    @property
    def name(self) -> str:
        """What its events are, for people."""

    @property
    def kinds(self) -> Collection[str]:
        """Which kinds of events are from here."""

    def events(self) -> AsyncIterator[tuple[Sequence[Recorded], int]]:
        """All of them, up to 500 at a time, with about how many there are."""

    async def republish(self, event_ids: Sequence[str], *, only_check: bool = False) -> set[str]:
        """Publishes up to 500 events once more, or only tells which of them are on record here."""


class _Submissions:
    name = "accepted actions"
    kinds = frozenset({"QUIZ_COMPLETED", "ACTION_VOIDED", "SCORE_ADJUSTED"})

    def __init__(self, stub: QuizServiceAsyncStub, token: str) -> None:
        self._stub = stub
        self._token = token

    async def events(self) -> AsyncIterator[tuple[Sequence[Recorded], int]]:
        request = quiz.ListSubmittedEventsRequest()
        async with open_stream(self._stub.ListSubmittedEvents, request, token=self._token) as pages:
            async for page in pages:
                yield (
                    [
                        Recorded(event.event_id, event.user_id, event.score_delta, event.published)
                        for event in page.events
                    ],
                    page.total,
                )

    async def republish(self, event_ids: Sequence[str], *, only_check: bool = False) -> set[str]:
        request = quiz.RepublishEventsRequest(event_ids=event_ids, only_check=only_check)
        return set((await call(self._stub.RepublishEvents, request, token=self._token)).event_ids)


class _Changes:
    name = "changes of accounts"
    kinds = frozenset({"PLAYER_BLOCKED", "PLAYER_UNBLOCKED", "COUNTRY_CHANGED", "PLAYER_ERASED"})

    def __init__(self, stub: IdentityServiceAsyncStub, token: str) -> None:
        self._stub = stub
        self._token = token

    async def events(self) -> AsyncIterator[tuple[Sequence[Recorded], int]]:
        request = identity.ListAccountEventsRequest()
        async with open_stream(self._stub.ListAccountEvents, request, token=self._token) as pages:
            async for page in pages:
                yield [Recorded(event.event_id, event.user_id, 0, event.published) for event in page.events], page.total

    async def republish(self, event_ids: Sequence[str], *, only_check: bool = False) -> set[str]:
        request = identity.RepublishAccountEventsRequest(event_ids=event_ids, only_check=only_check)
        return set((await call(self._stub.RepublishAccountEvents, request, token=self._token)).event_ids)


@asynccontextmanager
async def open_records(endpoints: Endpoints, token: str) -> AsyncIterator[Sequence[Records]]:
    """Everybody whose events the ledger counts."""
    async with AsyncExitStack() as stack:
        quiz_channel = await stack.enter_async_context(endpoints.channel("quiz"))
        identity_channel = await stack.enter_async_context(endpoints.channel("identity"))
        yield (
            _Submissions(cast("QuizServiceAsyncStub", QuizServiceStub(quiz_channel)), token),
            _Changes(cast("IdentityServiceAsyncStub", IdentityServiceStub(identity_channel)), token),
        )
