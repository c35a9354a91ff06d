"""The identity process: configuration → stores → services → servers."""

from __future__ import annotations

import services.runtime.process.quick_start  # noqa: F401  # first: it makes the imports below cheap

# isort: split
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Final

from services.identity.clients.service import ServiceClients
from services.identity.config import IdentityConfig
from services.identity.tokens import TokenIssuer
from services.identity.wiring import build_accounts, build_server, open_erasure_propagation, open_http, open_stores
from services.runtime.auth.jwks import StaticKeys
from services.runtime.auth.verification import open_verifier
from services.runtime.config.loading import from_command_line
from services.runtime.errors import ServiceError
from services.runtime.process.lifecycle import execute, run
from services.runtime.process.periodic import Periodic
from services.runtime.stores.incarnation import Incarnation
from services.runtime.stores.index_keeper import IndexKeeper
from services.runtime.stores.mongo_clock import MongoClock
from services.runtime.stores.watch import StoreWatch
from services.runtime.telemetry.logging import configure

SWEEP_EVERY: Final = timedelta(seconds=1)


async def main(config: IdentityConfig) -> None:
    """Build the process and run it until it is stopped."""
    auth = config.auth
    tokens = TokenIssuer(config.signing_key, issuer=auth.issuer, audience=auth.audience, access_ttl=config.access_ttl)
    clock = MongoClock()
    clients = ServiceClients(config.service_clients, [each.issuer for each in auth.outside], now=clock.now)
    async with AsyncExitStack() as stack:
        ops = await open_http(config, tokens, clients, clock, stack)
        stores = await open_stores(config, clients, clock, stack)
        accounts = build_accounts(config, stores, tokens)
        propagation = await open_erasure_propagation(config, stores, tokens, stack)
        # Reads its own keys directly; over HTTP that could fail.
        verifier = await stack.enter_async_context(open_verifier(auth, StaticKeys(*tokens.public_keys)))
        sweep = partial(Periodic, every=SWEEP_EVERY, at_rest=15, retry_on=(ServiceError,))

        async def prepare_indexes(_incarnation: Incarnation) -> None:
            await stores.prepare()

        # Nothing is cached; what a restored database may lack is its indexes.
        stores.incarnation.actions.append(prepare_indexes)
        await run(
            ops,
            stores.incarnation,
            IndexKeeper(stores.mongo.database).server(),
            accounts.outbox,
            sweep("sanction expiry", accounts.moderation.end_expired_sanctions),
            sweep("guest erasure", accounts.guests.erase_ended),
            sweep("erasure propagation", propagation.run_due),
            # Without MongoDB nobody signs in, but keys and service tokens are still served.
            StoreWatch(mongo=stores.mongo.ping, nats=stores.nats.ping),
            build_server(config, stores, accounts, tokens, clients, verifier),
            grace=config.process.shutdown_grace,
        )


if __name__ == "__main__":
    settings = from_command_line(IdentityConfig)
    configure(settings.process, "identity")
    execute(main, settings, startup=settings.process.startup_timeout)
