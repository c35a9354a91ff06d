"""The edge process: configuration → clients → handlers → servers."""

from __future__ import annotations

import services.runtime.process.quick_start  # noqa: F401  # first: it makes the imports below cheap

# isort: split
from contextlib import AsyncExitStack

from edge.boards import ExistingBoards
from edge.config import EdgeConfig
from edge.graphql.execution.documents import open_documents
from edge.graphql.execution.handler import GraphQLHandler
from edge.graphql.schema import executable_schema
from edge.http.application import HttpServer
from edge.http.callers.authentication import Authenticator
from edge.http.callers.outside_players import OutsidePlayers
from edge.http.callers.sessions import Sessions
from edge.http.page import Page
from edge.rates.limiter import open_limiter
from edge.rooms import ExistingRooms
from edge.stream.hub import Hub
from edge.stream.latency import ScreenLatency
from edge.stream.sse import StreamHandler
from edge.upstreams import Readiness, open_upstreams
from services.runtime.auth.verification import keys_of, open_service_token, open_verifier
from services.runtime.clock import utc_now
from services.runtime.config.loading import from_command_line
from services.runtime.process.lifecycle import execute, run
from services.runtime.process.ops_server import OpsServer
from services.runtime.stores.watch import StoreWatch
from services.runtime.telemetry.logging import configure


async def main(config: EdgeConfig) -> None:
    """Build the process and run it until it is stopped."""
    async with AsyncExitStack() as stack:
        ops = await stack.enter_async_context(OpsServer(config.ops_address, config))
        keys = await stack.enter_async_context(keys_of(config.auth.jwks_url, config.auth))
        verifier = await stack.enter_async_context(open_verifier(config.auth, keys))
        service_token = await stack.enter_async_context(open_service_token(config.auth))
        upstreams = await stack.enter_async_context(open_upstreams(config.upstream, config.tls, service_token))
        limiter = await stack.enter_async_context(open_limiter(config.redis, config.rates))
        schema = executable_schema()
        documents = await stack.enter_async_context(open_documents(schema, config))
        sessions = Sessions(upstreams)
        authenticator = Authenticator(verifier, OutsidePlayers(upstreams), sessions)
        latency = ScreenLatency()
        hub = Hub(upstreams, config, sessions, latency, now=utc_now)
        boards = ExistingBoards(upstreams, hub.catalog, now=utc_now)
        graphql = GraphQLHandler(
            schema,
            documents,
            upstreams,
            authenticator,
            limiter,
            hub,
            boards,
            config,
            on_accepted=latency.action_accepted,
        )
        readiness = Readiness(upstreams)
        ops.require(readiness.takes_players)
        server = HttpServer(
            config,
            graphql=graphql,
            stream=StreamHandler(hub, boards, ExistingRooms(upstreams), authenticator, sessions, limiter, config),
            hub=hub,
            keys=keys,
            readiness=readiness,
            page=Page(config.embed_origins, config.media.hosts),
        )
        await run(
            ops,
            StoreWatch(redis=limiter.ping),
            boards.server(hub.shows_defined_boards),
            server,
            grace=config.process.shutdown_grace,
        )


if __name__ == "__main__":
    settings = from_command_line(EdgeConfig)
    configure(settings.process, "edge")
    execute(main, settings, startup=settings.process.startup_timeout)
