"""`topten up`: the whole system on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import aiohttp
import typer

from services.local.client import Endpoints, GraphqlClient, GraphqlError, describe
from services.local.commands.quiz import SAMPLES, sample_files, store_quizzes
from services.local.commands.user import grant_role
from services.local.demo import DemoPlayers
from services.local.folder import DataFolder, FolderInUseError
from services.local.programs import MissingProgramError
from services.local.settings import WrongSettingError, unknown_variables
from services.local.stack import PortTakenError, Stack, check_port, wait_for_edge
from services.local.supervisor import ChildFailedError, allow_many_connections
from services.local.terminal import DATA, FOUND, USAGE, Data, err, fail, out
from services.runtime.errors import ServiceError

PLAYERS: Final = {"ada": "GB", "linus": "FI", "grace": "US"}
MODERATOR: Final = ("mira", "VN")
# A terminal and a process manager may both pass on the same wish.
IMPATIENT_SECONDS: Final = 1.0


def up(
    port: Annotated[int, typer.Option(help="Where the edge serves HTTP.", min=1, max=65535)] = 8080,
    data: Data = DATA,
    demo: Annotated[int, typer.Option(help="Simulated players who answer quizzes.", min=0, max=500)] = 0,
    workers: Annotated[int, typer.Option(help="Edges that share the port.", min=1, max=64)] = 1,
) -> None:
    """Start stores and processes, load the sample quizzes, and keep all of it running until Ctrl-C.

    A store that TOPTEN_MONGO_URL, TOPTEN_REDIS_URL or TOPTEN_NATS_URL names is used instead of the embedded one. Other
    TOPTEN_* variables reach the processes; `topten config` lists them.
    """
    if sys.platform != "linux":
        fail("the embedded stack needs Linux; elsewhere start the processes by hand", USAGE)
    if unknown := unknown_variables(os.environ):
        fail(f"no such setting: {', '.join(unknown)}; `topten config` lists all", USAGE)
    try:
        asyncio.run(_up(DataFolder(data), port, demo, workers))
    except (PortTakenError, FolderInUseError, MissingProgramError, WrongSettingError) as error:
        fail(str(error), USAGE)
    except (ChildFailedError, ServiceError, GraphqlError, aiohttp.ClientError, TimeoutError) as error:
        fail(f"could not start: {describe(error)}", FOUND)
    except OSError as error:
        fail(f"could not start: {error.filename or data}: {error.strerror}", USAGE)


async def _up(folder: DataFolder, port: int, demo: int, workers: int) -> None:
    folder.lock()
    allow_many_connections()
    check_port(port)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    told_to_stop = partial(_told_to_stop, stopped, [])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue  # nohup: the terminal may go
        loop.add_signal_handler(number, told_to_stop)
    stack = Stack(
        folder,
        http_port=port,
        workers=workers,
        environ=os.environ,
        report=lambda line: err.print(f"topten: {line}", markup=False, soft_wrap=True),
    )
    err.print(f"Starting Topten; logs are in {folder.path / 'logs'}", markup=False, soft_wrap=True)
    players: DemoPlayers | None = None
    try:
        starting = asyncio.create_task(_start(stack, folder))
        told = asyncio.create_task(stopped.wait())
        with err.status("stores, then processes, then quizzes"):
            await asyncio.wait({starting, told}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
            return
        await starting
        _introduce(stack.endpoints, folder.path / "logs")
        if demo:
            players = DemoPlayers(Endpoints(stack.endpoints), demo, folder.secret("demo-players"), SAMPLES)
            players.start()
        await told
    finally:
        err.print("Stopping …")
        if players is not None:
            await players.stop()
        await stack.stop()


def _told_to_stop(stopped: asyncio.Event, first: list[float]) -> None:
    """Stop in order; told again later, end at once: the kernel ends the children, and what was acknowledged is stored."""
    if not stopped.is_set():
        first.append(time.monotonic())
        stopped.set()
    elif time.monotonic() - first[0] > IMPATIENT_SECONDS:
        os._exit(FOUND)


async def _start(stack: Stack, folder: DataFolder) -> None:
    await stack.start()
    endpoints = Endpoints(stack.endpoints)

    def bad(file: str, line: str) -> None:
        err.print(f"topten: {file}: {line}", markup=False, soft_wrap=True)

    await store_quizzes(endpoints, sample_files(), stored=lambda *_: None, bad=bad)
    await wait_for_edge(stack.endpoints["http"])
    stack.publish(await _accounts(endpoints, folder))


async def _accounts(endpoints: Endpoints, folder: DataFolder) -> Mapping[str, Any]:
    """Make the demo players and the moderator, or find them again."""
    # A database of yours may know these names from another folder, or as somebody's own.
    shared = any(os.environ.get(name) for name in ("TOPTEN_MONGO_URL", "TOPTEN_MONGO_URL_FILE"))
    async with GraphqlClient(endpoints.graphql) as client:
        *players, moderator = await asyncio.gather(
            *(_account(client, folder, name, country, shared=shared) for name, country in (*PLAYERS.items(), MODERATOR))
        )
    await grant_role(endpoints, moderator["username"], "moderator")
    return {"players": players, "moderator": moderator}


async def _account(
    client: GraphqlClient, folder: DataFolder, name: str, country: str, *, shared: bool
) -> dict[str, str]:
    """The account of this name that the folder's password opens, or one under a longer name."""
    password = folder.secret(f"password-{name}")
    if await client.register(name, password, country) is None and shared:
        try:
            await client.login(name, password)
        except GraphqlError as error:
            if error.reason != "CREDENTIALS_INVALID":
                raise
            name = f"{name}-{folder.secret('names')[:8].lower()}"
            await client.register(name, password, country)
    return {"username": name, "password": password}


def _introduce(endpoints: Mapping[str, Any], logs: Path) -> None:
    player = endpoints["players"][0]
    lines = [
        "Topten is running",
        "",
        f"  page       {endpoints['http']}/",
        f"  GraphQL    {endpoints['graphql']}",
        f"  stream     {endpoints['stream']}",
        f"  sign in    {player['username']}  {player['password']}",
        f"  logs       {logs}",
        "",
        "  topten top --watch    follows the board in a terminal",
        "  Ctrl-C                stops everything; the data stays",
    ]
    for line in lines:
        out.print(line, markup=False, soft_wrap=True, style="bold" if line == lines[0] else None)
