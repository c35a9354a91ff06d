"""An erasure completes although a process dies during it, and nothing else is erased."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest
import pytest_asyncio
from topten.identity.v1 import identity_pb2
from topten.identity.v1.identity_service_pb2 import DeleteAccountRequest
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub

from services.runtime.errors import ServiceError
from services.runtime.grpc.client import call, open_channel
from tests.deadline import eventually
from tests.faults.crash_points import POINTS
from tests.faults.test_crash_points import SHORT_ACK_WAIT, imported, submit, until_scored
from tests.system.accounts.residue import residue_in_mongo, residue_in_nats, residue_in_redis
from tests.system.processes import PASSWORD, Identity, Service, running_identity, service_process
from tests.system.score import ScoreSystem, score_servers, score_system

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

ERASING = [*(name for name in POINTS if "erasing" in name), "score.after-insert-before-boards"]
SETTINGS = {**SHORT_ACK_WAIT, "TOPTEN_SCORE_FENCE_TTL": "2s"}


@dataclass
class Processes:
    """Identity, quiz and score, connected, on stores of their own."""

    system: ScoreSystem
    identity: Identity
    services: dict[str, Service]

    async def delete(self, player: identity_pb2.Session) -> None:
        async with open_channel(self.identity.service.grpc) as channel:
            stub = cast("IdentityServiceAsyncStub", IdentityServiceStub(channel))
            await call(stub.DeleteAccount, DeleteAccountRequest(password=PASSWORD), token=player.access_token)

    async def until_erased(self) -> None:
        erasures = self.system.mongo.client[self.identity.database]["erasures"]

        async def is_erased() -> bool:
            return await erasures.count_documents({}) == 0

        await eventually(is_erased, "no erasures left")


@pytest_asyncio.fixture(scope="module")
async def processes() -> AsyncIterator[Processes]:
    async with (
        score_servers() as servers,
        score_system(servers) as system,
        running_identity(servers["mongo"].url, system.prefix) as identity,
    ):
        environ = {**system.environ, **identity.environ}
        with service_process("quiz", environ) as quiz, service_process("score", {**environ, **SETTINGS}) as score:
            addresses = {"TOPTEN_UPSTREAM_QUIZ": quiz.grpc, "TOPTEN_UPSTREAM_SCORE": score.grpc}
            own = {"TOPTEN_NATS_URL": system.environ["TOPTEN_NATS_URL"], "TOPTEN_IDENTITY_ERASURE_REPEAT": "1s"}
            identity.service.environ |= {**addresses, **own}
            for service in (quiz, score):
                service.environ = {**service.environ, **addresses}
            # A process refuses the settings of another.
            quiz.environ = {name: value for name, value in quiz.environ.items() if "TOPTEN_SCORE" not in name}
            await identity.service.stop()
            await asyncio.gather(*(service.start() for service in (identity.service, quiz, score)))
            await imported(quiz.grpc, identity)
            yield Processes(system, identity, {"identity": identity.service, "quiz": quiz, "score": score})
            await asyncio.gather(quiz.stop(), score.stop())


@pytest.mark.parametrize("point", ERASING)
async def test_erasure_completes_although_a_process_dies_during_it(processes: Processes, point: str) -> None:
    system, stores = processes.system, processes.system.servers
    name = point.partition(".")[0]
    victim = processes.services[name]
    erased, other = await processes.identity.register(), await processes.identity.register()
    for number, player in enumerate((erased, other)):
        await submit(
            processes.services["quiz"].grpc, player.access_token, f"00000000-0000-4000-8000-00000000000{number}"
        )
        await until_scored(system, player.user.user_id, 10)
    await system.until_drained()
    before = [entry for entry in await system.board("all") if entry[0] != erased.user.user_id]

    await victim.stop()
    with service_process(name, victim.environ, ("tests.faults.crashing", point)) as dying:
        dying.grpc, dying.ops = victim.grpc, victim.ops
        await dying.start()
        with suppress(ServiceError):  # the process may die before it responds
            await processes.delete(erased)
        await dying.died()
    await victim.start()
    await processes.delete(erased)
    await processes.until_erased()
    await system.until_drained()

    needles = [erased.user.user_id, erased.user.username]
    assert await residue_in_mongo(stores["mongo"].url, needles) == set()
    assert await residue_in_redis(stores["redis"].url, needles) == set()
    assert await residue_in_nats(stores["nats"].url, needles) == set()
    assert await system.board("all") == before
    assert await system.verify() == []
    assert await system.chain(erased.user.user_id) == [1, 2]
