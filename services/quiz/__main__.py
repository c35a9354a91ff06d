"""The quiz process: configuration → stores → services → servers."""

from __future__ import annotations

import services.runtime.process.quick_start  # noqa: F401  # first: it makes the imports below cheap

# isort: split
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Final

from nats.errors import Error as NatsError

from services.quiz.config import QuizConfig
from services.quiz.wiring.connections import Stores, open_stores, open_upstreams
from services.quiz.wiring.quizzes import Quizzes, build_quizzes
from services.quiz.wiring.serving import build_server
from services.quiz.wiring.submissions import Submissions, build_submissions
from services.runtime.auth.verification import open_verifier
from services.runtime.config.loading import from_command_line
from services.runtime.process.lifecycle import Stage, execute, run
from services.runtime.process.ops_server import OpsServer
from services.runtime.process.periodic import Periodic
from services.runtime.stores.incarnation import Incarnation
from services.runtime.stores.index_keeper import IndexKeeper
from services.runtime.stores.redis import REDIS_ERRORS
from services.runtime.stores.watch import StoreWatch
from services.runtime.telemetry.logging import configure

KEEP_STREAM: Final = timedelta(seconds=2)
SUBSCRIBE_AGAIN: Final = timedelta(seconds=1)
WRITE_DELIVERIES: Final = timedelta(milliseconds=100)


def watch_incarnation(stores: Stores, submissions: Submissions, quizzes: Quizzes) -> None:
    """Say what is done when MongoDB's data is replaced."""

    async def use_replaced_data(_incarnation: Incarnation) -> None:
        submissions.forget()
        stores.deliveries.forget()
        quizzes.rooms.forget()
        await stores.prepare()
        await quizzes.prepare()
        await submissions.cache.forget_shared()

    stores.incarnation.actions.append(use_replaced_data)


async def main(config: QuizConfig) -> None:
    """Build the process and run it until it is stopped."""
    async with AsyncExitStack() as stack:
        ops = await stack.enter_async_context(OpsServer(config.ops_address, config))
        stores = await open_stores(config, stack)
        verifier = await stack.enter_async_context(open_verifier(config.auth))
        upstreams = await open_upstreams(config, stack)
        submissions = build_submissions(config, stores, upstreams, verifier)
        quizzes = await build_quizzes(config, stores, submissions)
        watch_incarnation(stores, submissions, quizzes)
        cache, deliveries, publisher = submissions.cache, stores.deliveries, stores.publisher
        await run(
            ops,
            stores.incarnation,
            IndexKeeper(stores.mongo.database).server(),
            Periodic("stream", publisher.keep, every=KEEP_STREAM, at_rest=5, retry_on=(NatsError, TimeoutError)),
            submissions.signals.server(),
            Periodic("quiz change subscription", cache.follow_changes, every=SUBSCRIBE_AGAIN, retry_on=REDIS_ERRORS),
            submissions.outbox,
            Periodic("delivery writer", deliveries.flush_when_any, every=WRITE_DELIVERIES, stage=Stage.PUBLISHER),
            # All three may be away: cached quizzes are served, and events wait in their documents.
            StoreWatch(mongo=stores.mongo.ping, redis=stores.redis.ping, nats=stores.nats.ping),
            *quizzes.rooms.servers,
            *quizzes.attempts.servers,
            build_server(config, stores, submissions, quizzes, verifier),
            grace=config.process.shutdown_grace,
        )


if __name__ == "__main__":
    settings = from_command_line(QuizConfig)
    configure(settings.process, "quiz")
    execute(main, settings, startup=settings.process.startup_timeout)
