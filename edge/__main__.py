"""The edge process: configuration → clients → handlers → servers."""

from __future__ import annotations

from contextlib import AsyncExitStack

from edge.admission import Admission
from edge.app import HttpServer
from edge.assets import PAGE_DOCUMENTS, Assets
from edge.auth import Authenticator
from edge.config import EdgeConfig
from edge.graphql.answers import Answers
from edge.graphql.cost import Limits
from edge.graphql.documents import Documents
from edge.graphql.handler import GraphQLHandler
from edge.graphql.persisted import open_texts
from edge.graphql.schema import executable_schema
from edge.public_keys import PublicKeys
from edge.rates.limiter import open_limiter
from edge.record import Record
from edge.repeats import Repeats
from edge.stream.hub import Hub
from edge.stream.latency import ScreenClock
from edge.stream.sessions import Sessions
from edge.stream.sse import StreamHandler
from edge.upstreams import Readiness, open_upstreams
from services.runtime import admission
from services.runtime.auth import keys_of, open_service_token, open_verifier
from services.runtime.clock import utc_now
from services.runtime.config import from_command_line
from services.runtime.lifecycle import execute, run
from services.runtime.ops_server import OpsServer
from services.runtime.store_watch import StoreWatch
from services.runtime.telemetry import configure


async def main(config: EdgeConfig) -> None:
    """Put the process together and run it until it is told to stop."""
    async with AsyncExitStack() as stack:
        ops = await stack.enter_async_context(OpsServer(config.ops_address))
        keys = await stack.enter_async_context(keys_of(config.auth.jwks_url, config.auth))
        verifier = await stack.enter_async_context(open_verifier(config.auth, keys))
        service_token = await stack.enter_async_context(open_service_token(config.auth))
        upstreams = await stack.enter_async_context(open_upstreams(config.upstream, config.tls, service_token))
        limiter = await stack.enter_async_context(open_limiter(config.redis, config.rates))
        readiness = Readiness(upstreams)
        sessions = Sessions(upstreams)
        authenticator = Authenticator(verifier, Admission(upstreams), sessions)
        clock = ScreenClock()
        schema = executable_schema()
        documents = Documents(
            schema,
            Limits(depth=config.max_depth, fields=config.max_fields, cost=config.max_cost),
            max_tokens=config.max_tokens,
            introspection=not config.process.production,
        )
        texts = await stack.enter_async_context(
            open_texts(config.documents, config.trusted_documents, PAGE_DOCUMENTS, config.redis)
        )
        hub = Hub(upstreams, config, sessions, clock, now=utc_now)
        answers = Answers(hub.held)
        running = admission.Admission("graphql", most=config.process.max_running)
        record = Record()
        server = HttpServer(
            config,
            graphql=GraphQLHandler(
                schema,
                documents,
                texts,
                upstreams,
                authenticator,
                limiter,
                config,
                held=hub.held,
                answers=answers,
                admission=running,
                on_accepted=clock.accepted,
            ),
            stream=StreamHandler(hub, authenticator, sessions, limiter, config),
            hub=hub,
            keys=PublicKeys(keys),
            readiness=readiness,
            assets=Assets(),
            record=record,
            repeats=Repeats(answers, sessions, limiter, running, record),
        )
        await run(ops, StoreWatch(redis=limiter.ping), server, grace=config.process.shutdown_grace)


if __name__ == "__main__":
    settings = from_command_line(EdgeConfig)
    configure(settings.process, "edge")
    execute(main, settings)
