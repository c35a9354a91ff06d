"""The score process: configuration → stores → worker and service → servers."""

from __future__ import annotations

import services.runtime.process.quick_start  # noqa: F401  # first: it makes the imports below cheap

# isort: split
import gc
from contextlib import AsyncExitStack
from functools import partial

from topten.board.v1.board_service_pb2_grpc import add_BoardServiceServicer_to_server
from topten.score.v1.score_service_pb2_grpc import add_ScoreServiceServicer_to_server
from topten.webhook.v1.webhook_service_pb2_grpc import add_WebhookServiceServicer_to_server

from services.boards.caller_groups import CallerGroups
from services.boards.periods import closed as closed_periods
from services.runtime.auth.verification import open_verifier
from services.runtime.config.loading import from_command_line
from services.runtime.grpc.server import GrpcServer
from services.runtime.process.lifecycle import execute, exit_at_once, run, wait_for
from services.runtime.process.ops_server import OpsServer
from services.runtime.stores.incarnation import Incarnation, IncarnationWatch
from services.runtime.stores.index_keeper import IndexKeeper
from services.runtime.stores.mongo import long_operation
from services.runtime.stores.watch import StoreWatch
from services.runtime.telemetry.logging import configure
from services.score.admin.dead_letter_replay import DeadLetterReplay
from services.score.admin.erasure import PlayerEraser
from services.score.admin.head_audit import HeadAudit
from services.score.admin.verify import Verification
from services.score.config import ScoreConfig
from services.score.definitions.groups import Groups
from services.score.definitions.rpc import BoardServicer
from services.score.definitions.service import BoardDefinitions
from services.score.errors import STORE_ERRORS, OtherSaltError
from services.score.notices.service import Notices
from services.score.periods.closed_boards import ClosedBoards
from services.score.periods.resealing import PeriodResealer
from services.score.rpc import ScoreServicer
from services.score.service import ScoreService
from services.score.store_utilization import mongo_utilization, redis_utilization, stream_utilization, utilization_gauge
from services.score.webhooks.rpc import WebhookServicer
from services.score.wiring.connections import Stores, open_stores, open_upstreams
from services.score.wiring.fair_play import FairPlay, build_fair_play
from services.score.wiring.ingest import Ingest, build_ingest, build_reconciliation
from services.score.wiring.ledger import Ledger, build_ledger
from services.score.wiring.periods import Periods, build_periods
from services.score.wiring.projection import Projection, build_projection
from services.score.wiring.webhooks import WebhookStores, build_webhook_servers, build_webhook_stores, build_webhooks

# A batch creates thousands of objects that stay; searching them for cycles after every 700 takes a tenth of its time.
OBJECTS_BEFORE_COLLECTION = 50_000


def build_servicer(
    config: ScoreConfig,
    stores: Stores,
    ledger: Ledger,
    projection: Projection,
    fair_play: FairPlay,
    webhooks: WebhookStores,
    ingest: Ingest,
    periods: Periods,
    caller_groups: CallerGroups,
) -> ScoreServicer:
    """Build what responds to gRPC calls."""
    verification = partial(
        Verification,
        ledger.store,
        stores.redis,
        ledger.coordination,
        projection.placement,
        HeadAudit(periods.heads),
        period_retention=config.period_retention,
        now=stores.mongo.clock.now,
    )
    eraser = PlayerEraser(
        ledger.store,
        ledger.folds,
        ledger.seen,
        fair_play.flags,
        webhooks.deliveries,
        webhooks.tops,
        ingest.dead_letters,
        periods.archive,
        projection.writer,
        stores.redis,
        fence_ttl=config.fence_ttl,
        now=stores.mongo.clock.milliseconds,
    )
    return ScoreServicer(
        ScoreService(
            ledger.store,
            ledger.folds,
            fair_play.flags,
            ingest.dead_letters,
            projection.placement,
            projection.loss_detector,
            verification,
            stores.mongo.clock.milliseconds,
            stores.incarnations.replacements,
            caller_groups,
        ),
        Notices(ledger.store, ledger.seen),
        DeadLetterReplay(ingest.dead_letters, ingest.worker, digests=ledger.digests),
        eraser,
        PeriodResealer(
            ledger.store, ledger.coordination, periods.archive, projection.placement, now=stores.mongo.clock.now
        ),
        ClosedBoards(projection.placement, periods.archive, caller_groups),
    )


async def watch_incarnation(
    config: ScoreConfig,
    incarnation: IncarnationWatch,
    ledger: Ledger,
    projection: Projection,
    fair_play: FairPlay,
    webhooks: WebhookStores,
    ingest: Ingest,
    periods: Periods,
) -> None:
    """Start to notice that MongoDB's data is replaced, and say what is done then."""

    async def prepare_indexes(_incarnation: Incarnation) -> None:
        others = (ledger.coordination, fair_play.flags, webhooks, ingest.dead_letters, periods.archive, periods.heads)
        with long_operation():
            try:
                await ledger.store.prepare(config.audit_ttl)
            except OtherSaltError as error:
                # Nothing that this process holds is of this data: there is nothing to finish. One that starts reads the salt.
                exit_at_once(str(error))
            for store in others:
                await store.prepare()

    # Caches are dropped once it is known which collections they will be filled from.
    incarnation.actions += [
        prepare_indexes,
        ledger.folds.forget,
        fair_play.monitor.forget,
        projection.loss_detector.withdraw,
    ]
    await wait_for("redis", projection.loss_detector.compare_incarnation, retry_on=STORE_ERRORS)
    await incarnation.start()


async def main(config: ScoreConfig) -> None:
    """Build the process and run it until it is stopped."""
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION, 10, 10)
    async with AsyncExitStack() as stack:
        ops = await stack.enter_async_context(OpsServer(config.ops_address, config))
        stores = await open_stores(config, stack)
        verifier = await stack.enter_async_context(open_verifier(config.auth))
        ledger = await build_ledger(config, stores)
        projection = build_projection(config, stores, ledger)
        upstreams = await open_upstreams(config, stack)
        fair_play = await build_fair_play(config, stores, upstreams)
        webhooks = await build_webhook_stores(stores)
        ingest = await build_ingest(config, stores, ledger, projection, fair_play, webhooks, upstreams)
        periods = await build_periods(config, stores, ledger, projection, upstreams)
        caller_groups = CallerGroups(upstreams.groups, stores.token)
        servicer = build_servicer(
            config, stores, ledger, projection, fair_play, webhooks, ingest, periods, caller_groups
        )
        definitions = BoardDefinitions(
            projection.definitions,
            lambda: projection.placement.catalog,
            Groups(upstreams.groups, stores.token).has,
            now=stores.mongo.clock.now,
        )
        boards = BoardServicer(definitions, caller_groups)
        hooks = WebhookServicer(build_webhooks(config, stores, webhooks, lambda: projection.placement.catalog))
        server = GrpcServer(
            config.grpc_address,
            [
                partial(add_ScoreServiceServicer_to_server, servicer),
                partial(add_BoardServiceServicer_to_server, boards),
                partial(add_WebhookServiceServicer_to_server, hooks),
            ],
            verifier=verifier,
            tls=config.tls,
            max_calls=config.process.max_calls,
            max_connection_age=config.grpc.connection_age,
            reflection=not config.process.production,
        )
        # Before anything is cached.
        await watch_incarnation(config, stores.incarnation, ledger, projection, fair_play, webhooks, ingest, periods)
        stack.push_async_callback(stores.incarnation.stop)
        mongo, redis, nats = stores.mongo, stores.redis, stores.nats
        await run(
            ops,
            IndexKeeper(mongo.database, mongo.client[f"{config.mongo.database}_{closed_periods.DATABASE}"]).server(),
            ledger.write_behind,
            projection.loss_detector,
            projection.building,
            fair_play.monitor,
            periods.closing,
            periods.sealing,
            *build_webhook_servers(config, stores, ledger, webhooks, fair_play.flags, periods.heads, upstreams),
            build_reconciliation(config, stores, ledger, ingest),
            utilization_gauge("mongo", partial(mongo_utilization, mongo.database)),
            utilization_gauge("redis", partial(redis_utilization, redis)),
            utilization_gauge("nats", partial(stream_utilization, nats.jetstream, config.stream)),
            StoreWatch(mongo=mongo.ping, redis=redis.ping, nats=nats.ping),
            server,
            ingest.consumers,  # last: its start waits for the stream
            grace=config.process.shutdown_grace,
        )


if __name__ == "__main__":
    settings = from_command_line(ScoreConfig)
    configure(settings.process, "score")
    execute(main, settings, startup=settings.process.startup_timeout)
