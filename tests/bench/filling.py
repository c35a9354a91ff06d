"""Fills a running stack with submissions as the quiz process records them, without its gRPC calls and tokens.

A second instance of that process's use case, in this process and on the stack's stores: it judges the actions, looks their
players up in identity, inserts the records in groups and publishes their events, and score counts them as any others. Of a
real instance it lacks the verification of a token for each action, which is half of its work.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, Final, cast

from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from topten.quiz.v1 import quiz_pb2

from services.identity.tokens import TokenIssuer
from services.quiz.config import QuizConfig
from services.quiz.questions.answers import selected
from services.quiz.submissions.action import Action
from services.quiz.submissions.service import SubmissionService
from services.quiz.wiring.connections import Upstreams, open_stores
from services.quiz.wiring.submissions import build_submissions
from services.runtime.clock import utc_now
from services.runtime.config.loading import load
from tests.players import endpoints
from tests.servers import RunningStack

GROUP: Final = 500
# Groups at a time: what is published beyond 2 000 events in flight would wait for a sweep.
GROUPS: Final = 3


class _Token:
    """The token with which quiz calls identity."""

    def __init__(self, stack: RunningStack) -> None:
        pem = (stack.data / "secrets" / "signing_key.pem").read_text()
        issuer = TokenIssuer(pem, issuer="topten", audience="topten", access_ttl=timedelta(hours=12))
        scopes = frozenset({"account:read"})
        self._token = issuer.service_token("quiz", frozenset({"service"}), scopes, utc_now())

    async def get(self) -> str:
        return self._token


@asynccontextmanager
async def recording(stack: RunningStack) -> AsyncIterator[SubmissionService]:
    """Yield a second instance of the use case; when it ends, every event is published."""
    stores = stack.endpoints["stores"]
    environ = {f"TOPTEN_{store.upper()}_URL": stores[store] for store in ("mongo", "redis", "nats")}
    config = load(QuizConfig, environ | {"TOPTEN_QUIZ_PARTITIONS": "1"})
    async with AsyncExitStack() as exits:
        opened = await open_stores(config, exits)
        channel = await exits.enter_async_context(endpoints(stack).channel("identity"))
        unused: Any = None
        identity, token = cast("Any", IdentityServiceStub(channel)), cast("Any", _Token(stack))
        submissions = build_submissions(config, opened, Upstreams(identity, unused, token), unused)
        for server in (opened.incarnation, submissions.outbox):
            await server.start()
            exits.push_async_callback(server.stop)
        yield submissions.service


async def fill(stack: RunningStack, quiz_id: str, records: int, option: str) -> None:
    """Record that players, one each, selected an option of the first question."""
    sizes = iter([min(GROUP, records - start) for start in range(0, records, GROUP)])
    async with recording(stack) as service:

        async def submit() -> None:
            for size in sizes:
                outcomes = await service.submit_actions([_action(quiz_id, option) for _ in range(size)])
                assert all(isinstance(outcome, tuple) for outcome in outcomes), outcomes[0]

        await asyncio.gather(*(submit() for _ in range(GROUPS)))


def _action(quiz_id: str, option: str) -> Action:
    return Action(
        user_id=str(uuid.uuid4()),
        country="VN",
        action_id=str(uuid.uuid4()),
        quiz_id=quiz_id,
        answers=(selected("q1", option),),
        client_time=utc_now(),
        client=quiz_pb2.Client(),
    )
