"""The whole system on this machine: what is started, with which settings, and when it is ready.

The stores start together, then the processes together; the sample quizzes and demo players follow when all are ready.
Must never outlive its supervisor.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp

from services.local.credentials import CLIENTS, service_clients
from services.local.folder import HOST, DataFolder
from services.local.programs import Program, mongo_server, nats_server, redis_server
from services.local.settings import check
from services.local.supervisor import Supervisor, environ_of

SERVICES: Final = ("identity", "quiz", "score", "leaderboard")
PROCESSES: Final = (*SERVICES, "edge")
STORES: Final = {"mongo": mongo_server, "redis": redis_server, "nats": nats_server}
TLS_FILES: Final = ("cert_file", "key_file", "ca_file")
READY_SECONDS: Final = 60.0


class PortTakenError(RuntimeError):
    """Somebody else listens where the edge should."""


class Stack:
    """Start with `start`, keep running, end with `stop`. `report` is told what a person at the terminal should see.

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
        # What each process is, by its name.
        self._processes = {name: name for name in PROCESSES} | {f"edge-{n}": "edge" for n in range(2, workers + 1)}
        self._environ = environ
        self._supervisor = Supervisor(folder.path / "logs", report)
        self.endpoints: dict[str, Any] = {}

    async def start(self) -> None:
        """Start everything and return when all are ready.

        Raises MissingProgramError, WrongSettingError, or ChildFailedError for a child that does not become ready.
        """
        names = [*STORES, *(f"{name}-grpc" for name in SERVICES), *(f"{name}-ops" for name in self._processes)]
        ports = self._folder.ports(*names)
        stores = self._stores(ports)
        urls = {name: store if isinstance(store, str) else store.url for name, store in stores.items()}
        processes = [self._process(name, ports, urls) for name in self._processes]
        for process in processes:
            check(self._processes[process.name], environ_of(process))
        await self._run([store for store in stores.values() if isinstance(store, Program)])
        # Only then the processes: what would wait for a store can't be ready sooner, and a store's message comes first.
        await self._run(processes)
        self.endpoints = self._addresses(ports, urls)

    def publish(self, accounts: Mapping[str, Any]) -> None:
        """Write `endpoints.json`, with the accounts made for this stack."""
        self.endpoints |= accounts
        self._folder.write("endpoints.json", json.dumps(self.endpoints, indent=2))

    async def stop(self) -> None:
        """Stop all in order: edge, services, stores."""
        await self._supervisor.stop()

    async def _run(self, programs: Sequence[Program]) -> None:
        """Start programs together and return when all are ready."""
        children = [await self._supervisor.add(program) for program in programs]
        await asyncio.gather(*(child.wait_ready(READY_SECONDS) for child in children))

    def _stores(self, ports: Mapping[str, int]) -> dict[str, Program | str]:
        """For each store the URL in the settings, or the program to start."""
        found: dict[str, Program | str] = {}
        for name, make in STORES.items():
            found[name] = self._named(f"TOPTEN_{name.upper()}_URL") or make(
                self._folder.path / name, ports[name], self._folder.secret(name)
            )
        return found

    def _named(self, variable: str) -> str:
        """The URL in the settings, by value or by file, as the processes read it; empty if there is none."""
        path = self._environ.get(f"{variable}_FILE")
        return self._environ.get(variable) or (Path(path).read_text(encoding="utf-8").strip() if path else "")

    def _process(self, name: str, ports: Mapping[str, int], urls: Mapping[str, str]) -> Program:
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
            environ["TOPTEN_IDENTITY_SIGNING_KEY"] = self._folder.signing_key()
            environ["TOPTEN_IDENTITY_SERVICE_CLIENTS"] = service_clients(
                {client: self._folder.secret(f"client-{client}") for client in CLIENTS}
            )
        if kind == "edge":
            environ["TOPTEN_EDGE_HTTP_ADDRESS"] = f"{HOST}:{self._http_port}"
            environ["TOPTEN_EDGE_REUSE_PORT"] = str("edge-2" in self._processes).lower()
        else:
            environ[f"TOPTEN_{name.upper()}_GRPC_ADDRESS"] = f"{HOST}:{ports[f'{name}-grpc']}"
        module = "edge" if kind == "edge" else f"services.{name}"
        return Program(name, _python(module), partial(_answers, f"http://{ops}/readyz"), environ)

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


def default_data() -> Path:
    """The data folder of whoever names none."""
    return Path(os.environ.get("TOPTEN_LOCAL_DATA") or ".topten")


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module)


async def _answers(url: str) -> None:
    timeout = aiohttp.ClientTimeout(total=2)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
        response.raise_for_status()


def check_port(port: int) -> None:
    """Raises PortTakenError if the edge could not listen there."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise PortTakenError(f"port {port} can't be had ({error.strerror}); choose another with PORT=") from None


async def wait_for_edge(http: str) -> None:
    """Return when the edge says that everything behind it serves. Raises TimeoutError."""
    async with asyncio.timeout(READY_SECONDS):
        while True:
            try:
                return await _answers(f"{http}/readyz")
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(0.05)
