"""The whole system on this machine: its programs, their settings and addresses.

All stores start together, then all processes together. Must never outlive its supervisor.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import aiohttp

from services.embedded.credentials import CLIENTS, service_clients
from services.embedded.data_folder import DataFolder
from services.embedded.preflight import HOST, MIB, STREAM_SETTING, secret_setting, store_url, stream_space
from services.embedded.programs import Program, mongo_server, nats_server, redis_server
from services.embedded.settings import WrongSettingError, check
from services.embedded.supervisor import Supervisor, environ_of
from services.identity.clients.client import parse_service_clients
from services.quiz.config import QuizConfig

SERVICES: Final = ("identity", "quiz", "score", "leaderboard")
PROCESSES: Final = (*SERVICES, "edge")
STORES: Final = {"mongo": mongo_server, "redis": redis_server, "nats": nats_server}
TLS_FILES: Final = ("cert_file", "key_file", "ca_file")
READY_SECONDS: Final = 60.0
SIGNING_KEY: Final = "TOPTEN_IDENTITY_SIGNING_KEY"
PARTITIONS_SETTING: Final = "TOPTEN_QUIZ_PARTITIONS"
SERVICE_CLIENTS: Final = "TOPTEN_IDENTITY_SERVICE_CLIENTS"
# Variables of the environment that the stack takes over into its own.
_ADOPTED: Final = {SERVICE_CLIENTS, *(f"TOPTEN_{store.upper()}_URL" for store in STORES)}
# Of the stream, on a disk with room for it.
DEFAULT_STREAM_BYTES: Final = QuizConfig.stream_max_bytes


class Stack:
    """The stores and processes of a data folder. `report` receives lines for the terminal.

    `workers` edges share the HTTP port; the first is named `edge`, the others `edge-2` and so on.
    """

    def __init__(
        self,
        folder: DataFolder,
        *,
        http_port: int,
        workers: int = 1,
        environ: Mapping[str, str],
        report: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._http_port = http_port
        # The kind of each process by its name.
        self._processes = {name: name for name in PROCESSES} | {f"edge-{n}": "edge" for n in range(2, workers + 1)}
        self._environ = environ
        self._report = report
        self._supervisor = Supervisor(folder.path / "logs", report)
        self.endpoints: dict[str, Any] = {}

    async def start(self) -> None:
        """Start everything and return when all are ready.

        Raises MissingProgramError, WrongSettingError, and ChildFailedError for a child that does not become ready.
        """
        self._supervisor.prepare()
        names = [*STORES, *(f"{name}-grpc" for name in SERVICES), *(f"{name}-ops" for name in self._processes)]
        ports = self._folder.ports(*names)
        stores = self._stores(ports)
        urls = {name: store if isinstance(store, str) else store.url for name, store in stores.items()}
        processes = [self.process(name, ports, urls) for name in self._processes]
        self._report_ignored(processes)
        for process in processes:
            check(self._processes[process.name], environ_of(process))
        embedded = [store for store in stores.values() if isinstance(store, Program)]
        if embedded:
            self._report(f"starting the stores: {', '.join(store.name for store in embedded)}")
        await self._run(embedded)
        self._report(f"starting the processes: {', '.join(self._processes)}")
        # Stores first: no process is ready before them, and the message of a failing store is the one to report.
        await self._run(processes)
        self.endpoints = self._addresses(ports, urls) | {
            "chosen": {each.name: sorted(each.environ) for each in processes}
        }

    def publish(self, accounts: Mapping[str, Any]) -> None:
        """Write `endpoints.json`, with the demo accounts."""
        self.endpoints |= accounts
        self._folder.write("endpoints.json", json.dumps(self.endpoints, indent=2))

    async def stop(self) -> None:
        """Stop in order: edges, services, stores."""
        await self._supervisor.stop()

    async def _run(self, programs: Sequence[Program]) -> None:
        """Start programs together and return when all are ready."""
        children = [await self._supervisor.add(program) for program in programs]
        await asyncio.gather(*(child.wait_ready(READY_SECONDS) for child in children))

    def _stores(self, ports: Mapping[str, int]) -> dict[str, Program | str]:
        """For each store its URL in the settings, or the program to start."""
        stores: dict[str, Program | str] = {}
        for name, make in STORES.items():
            stores[name] = store_url(self._environ, name) or make(
                self._folder.path / name, ports[name], self._folder.secret(name)
            )
        return stores

    def process(self, name: str, ports: Mapping[str, int], urls: Mapping[str, str]) -> Program:
        """A process of Topten with its settings. `ports` are those of the data folder, `urls` those of the stores."""
        ops, kind = f"{HOST}:{ports[f'{name}-ops']}", self._processes[name]
        identity = f"http://{HOST}:{ports['identity-ops']}"
        environ = {f"TOPTEN_{store.upper()}_URL": url for store, url in urls.items()} | {
            "TOPTEN_AUTH_JWKS_URL": f"{identity}/.well-known/jwks.json",
            "TOPTEN_AUTH_TOKEN_URL": f"{identity}/oauth/token",
            "TOPTEN_AUTH_KEYS_FOLDER": str(self._folder.path),
            f"TOPTEN_{kind.upper()}_OPS_ADDRESS": ops,
        }
        environ |= {f"TOPTEN_UPSTREAM_{service.upper()}": f"{HOST}:{ports[f'{service}-grpc']}" for service in SERVICES}
        if kind in CLIENTS:
            environ |= {
                "TOPTEN_AUTH_CLIENT_ID": kind,
                "TOPTEN_AUTH_CLIENT_SECRET": self._folder.secret(f"client-{kind}"),
            }
        if name == "identity":
            if not secret_setting(self._environ, SIGNING_KEY):
                environ[SIGNING_KEY] = self._folder.signing_key()
            environ[SERVICE_CLIENTS] = self._service_clients()
        if name == "quiz" and STREAM_SETTING not in self._environ and not store_url(self._environ, "nats"):
            space = min(DEFAULT_STREAM_BYTES, stream_space(self._folder.path / "nats"))
            environ[STREAM_SETTING] = str(max(MIB, space // MIB * MIB))
        if name == "quiz" and PARTITIONS_SETTING not in self._environ:
            environ[PARTITIONS_SETTING] = "1"  # there is one score process; each partition more makes groups smaller
        if kind == "edge":
            environ["TOPTEN_EDGE_HTTP_ADDRESS"] = f"{HOST}:{self._http_port}"
            environ["TOPTEN_EDGE_REUSE_PORT"] = str("edge-2" in self._processes).lower()
        else:
            environ[f"TOPTEN_{name.upper()}_GRPC_ADDRESS"] = f"{HOST}:{ports[f'{name}-grpc']}"
        module = "edge" if kind == "edge" else f"services.{name}"
        argv = (sys.executable, "-m", module)
        return Program(name, argv, partial(_probe, f"http://{ops}/startedz"), environ, module=module)

    def _service_clients(self) -> str:
        """The clients of the processes and of the operator, and those that the environment declares."""
        declared = secret_setting(self._environ, SERVICE_CLIENTS)
        try:
            names = parse_service_clients(declared or "{}").keys()
        except ValueError as error:
            raise WrongSettingError(f"{SERVICE_CLIENTS}: {error}") from None
        if taken := sorted(names & CLIENTS.keys()):
            raise WrongSettingError(f"{SERVICE_CLIENTS}: {', '.join(taken)} belongs to Topten. Choose another name.")
        return service_clients({client: self._folder.secret(f"client-{client}") for client in CLIENTS}, declared)

    def _report_ignored(self, processes: Sequence[Program]) -> None:
        """Tell which variables of the environment the stack replaces by its own."""
        own = {name for process in processes for name in process.environ} - _ADOPTED
        for name in sorted(own & {given.removesuffix("_FILE") for given in self._environ}):
            self._report(f"{name} is ignored: `topten up` chooses it.")

    def _addresses(self, ports: Mapping[str, int], urls: Mapping[str, str]) -> dict[str, Any]:
        http = f"http://{HOST}:{self._http_port}"
        return {
            "http": http,
            "graphql": f"{http}/graphql",
            "stream": f"{http}/api/v1/leaderboard/stream",
            "grpc": {name: f"{HOST}:{ports[f'{name}-grpc']}" for name in SERVICES},
            "metrics": {name: f"http://{HOST}:{ports[f'{name}-ops']}/metrics" for name in self._processes},
            "identity_http": f"http://{HOST}:{ports['identity-ops']}",
            "stores": dict(urls),
            "tls": {file: self._environ.get(f"TOPTEN_TLS_{file.upper()}", "") for file in TLS_FILES},
            "operator": {"client_id": "operator", "client_secret": self._folder.secret("client-operator")},
        }


async def _probe(url: str) -> None:
    timeout = aiohttp.ClientTimeout(total=2)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
        response.raise_for_status()


async def wait_for_edge(http: str) -> None:
    """Return when the edge and everything behind it is ready. Raises TimeoutError."""
    async with asyncio.timeout(READY_SECONDS):
        while True:
            try:
                return await _probe(f"{http}/readyz")
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(0.05)
