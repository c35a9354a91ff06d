"""Single services as processes, for tests that do not need the whole system."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import aiohttp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from topten.identity.v1 import identity_pb2
from topten.identity.v1 import identity_service_pb2 as messages
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub

from services.embedded.fork_server import ForkedProcess
from services.runtime.auth.access import SCOPES
from services.runtime.auth.service_token import ServiceToken
from services.runtime.grpc.client import call, open_channel
from tests.deadline import deadline
from tests.fork_server import FORK_SERVER
from tests.servers import HOST, free_port, unique

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

PASSWORD = "correct horse battery"


class Service:
    """`python -m services.<name>` with the settings `environ`; its log is kept for the message of a failure.

    `program` replaces the module and its arguments.
    """

    def __init__(self, name: str, environ: Mapping[str, str], log: Path, program: Sequence[str] = ()) -> None:
        self.name = name
        self._program = program or (f"services.{name}",)
        self.grpc = f"{HOST}:{free_port()}"
        self.ops = f"http://{HOST}:{free_port()}"
        self._log = log
        self.environ = {
            # How the run finds processes that are left over.
            **{key: value for key, value in os.environ.items() if key.startswith("PYTEST_")},
            f"TOPTEN_{name.upper()}_GRPC_ADDRESS": self.grpc,
            f"TOPTEN_{name.upper()}_OPS_ADDRESS": self.ops.removeprefix("http://"),
            **environ,
        }
        self._process: ForkedProcess | None = None

    async def start(self) -> None:
        """Start it, on the same ports as before, and wait until it is ready."""
        self.launch()
        async with deadline(f"{self.name} is ready"), aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"{self.ops}/readyz") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                assert self.exit_code is None, self._log.read_text()
                await asyncio.sleep(0.02)

    async def died(self) -> None:
        """Wait until it is killed; fails if it exits or goes on."""
        assert self._process is not None
        async with deadline(f"{self.name} dies"):
            code = await self._process.wait()
        assert code == -signal.SIGKILL, self._log.read_text()

    def launch(self) -> None:
        """Start it without waiting until it is ready."""
        with self._log.open("ab") as output:
            self._process = FORK_SERVER.spawn(self._program, self.environ, output)

    @property
    def pid(self) -> int:
        """Its process ID."""
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit code; None while it runs."""
        return None if self._process is None else self._process.poll()

    @property
    def log(self) -> str:
        """Its log so far."""
        return self._log.read_text()

    async def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        async with deadline(f"{self.name} stops"):
            return await self._process.wait()

    def kill(self) -> None:
        """Kill it, as a crash does."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.join()


@contextmanager
def service_process(name: str, environ: Mapping[str, str], program: Sequence[str] = ()) -> Iterator[Service]:
    """A service that the test starts itself; killed at the end."""
    with tempfile.TemporaryDirectory(prefix=f"topten-{name}-") as folder:
        service = Service(name, environ, Path(folder) / "log", program)
        try:
            yield service
        finally:
            service.kill()


@asynccontextmanager
async def running_service(name: str, environ: Mapping[str, str], program: Sequence[str] = ()) -> AsyncIterator[Service]:
    """A running service, stopped in order at the end."""
    with service_process(name, environ, program) as service:
        await service.start()
        yield service
        if service._process is not None and service._process.poll() is None:
            await service.stop()


class Identity:
    """A running identity service, which other services need for keys, tokens and names."""

    def __init__(self, service: Service, secret: str, database: str) -> None:
        self.service = service
        self.database = database
        self._secret = secret

    @property
    def environ(self) -> dict[str, str]:
        """The settings of a service that calls this one."""
        return {
            "TOPTEN_AUTH_JWKS_URL": f"{self.service.ops}/.well-known/jwks.json",
            "TOPTEN_AUTH_TOKEN_URL": f"{self.service.ops}/oauth/token",
            "TOPTEN_AUTH_CLIENT_ID": "test",
            "TOPTEN_AUTH_CLIENT_SECRET": self._secret,
            "TOPTEN_UPSTREAM_IDENTITY": self.service.grpc,
        }

    def token(self) -> ServiceToken:
        """A service token, for `async with`."""
        return ServiceToken(f"{self.service.ops}/oauth/token", "test", self._secret)

    async def register(self, country: str = "VN") -> identity_pb2.Session:
        """Register a player and return their session."""
        request = messages.RegisterRequest(
            credentials=identity_pb2.Credentials(username=unique("player-"), password=PASSWORD), country=country
        )
        async with self.token() as token, open_channel(self.service.grpc) as channel:
            stub = cast("IdentityServiceAsyncStub", IdentityServiceStub(channel))
            return (await call(stub.Register, request, token=await token.get())).session


@asynccontextmanager
async def running_identity(mongo_url: str, database: str = "", program: Sequence[str] = ()) -> AsyncIterator[Identity]:
    """An identity service of a deployment whose databases begin with `database`; of one of its own by default."""
    key = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    secret, database = secrets.token_hex(16), database or unique("test")
    environ = {
        "TOPTEN_MONGO_URL": mongo_url,
        "TOPTEN_MONGO_DATABASE": database,
        "TOPTEN_IDENTITY_SIGNING_KEY": key.decode(),
        "TOPTEN_IDENTITY_SERVICE_CLIENTS": json.dumps({"test": {"secret": secret, "scopes": sorted(SCOPES)}}),
    }
    async with running_service("identity", environ, program) as service:
        yield Identity(service, secret, f"{database}_identity")
