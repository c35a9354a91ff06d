"""Run the whole system on this machine: start it, create the demo accounts, play with simulated players, stop on a signal."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp

from services.cli.demo.demo_players import DemoPlayers
from services.cli.identity.accounts import grant_role
from services.cli.quizzes.quiz_import import SAMPLES, import_quizzes, sample_files
from services.cli.system.client import Endpoints, GraphqlClient, GraphqlError, describe
from services.cli.terminal import DATA, EXIT_FINDING, EXIT_USAGE, err, fail, fail_with, out, run_loop, warn
from services.embedded import external_stores, preflight
from services.embedded.data_folder import DataFolder
from services.embedded.lock import FolderInUseError
from services.embedded.programs import MissingProgramError
from services.embedded.settings import WrongSettingError, unknown_variables
from services.embedded.stack import Stack, wait_for_edge
from services.embedded.supervisor import ChildFailedError, allow_many_connections
from services.runtime.errors import ServiceError
from services.runtime.process.lifecycle import cancel

PLAYERS: Final = {"ada": "GB", "linus": "FI", "grace": "US"}
MODERATOR: Final = ("mira", "VN")
# A terminal and a process manager may both deliver the first signal.
SECOND_SIGNAL_SECONDS: Final = 1.0
SHOWN_NAMES: Final = 5
DEMO_LOG: Final = "demo.log"
# What to do next, printed once everything runs.
NEXT: Final = {"top": "the live board", "status": "every process", "check": "play a quiz and see it on the board"}


def launch(data: Path, *, port: int, demo: int, workers: int) -> None:
    """Run until SIGINT, SIGTERM or SIGHUP, with `demo` simulated players; exit with the reason if the start fails."""
    problems = preflight.report(preflight.check_stack(port, data, os.environ))
    problems += [f"Unknown setting {name}. `topten config` lists all." for name in unknown_variables(os.environ)]
    if problems:
        fail_with(problems, EXIT_USAGE)
    urls = {store: preflight.store_url(os.environ, store) for store in preflight.STORES}
    if problems := run_loop(external_stores.problems({store: url for store, url in urls.items() if url})):
        fail_with(problems, EXIT_USAGE)
    try:
        run_loop(_run(DataFolder(data), port, demo, workers))
    except (FolderInUseError, MissingProgramError, WrongSettingError) as error:
        fail(str(error), EXIT_USAGE)
    except (ChildFailedError, ServiceError, GraphqlError, aiohttp.ClientError, TimeoutError) as error:
        fail(f"The system did not start: {describe(error)}", EXIT_FINDING)
    except OSError as error:
        fail(f"The system did not start: {error.filename or data}: {error.strerror}.", EXIT_USAGE)


async def _run(folder: DataFolder, port: int, demo: int, workers: int) -> None:
    folder.lock()
    (folder.path / "endpoints.json").unlink(missing_ok=True)  # of an earlier run: nothing answers there yet
    allow_many_connections()
    stopping = _stop_on_signals()
    stack = Stack(
        folder, http_port=port, workers=workers, environ=os.environ, report=lambda line: warn(f"topten: {line}")
    )
    warn(f"Starting Topten; logs are in {folder.path / 'logs'}")
    players: DemoPlayers | None = None
    try:
        starting = asyncio.create_task(_start(stack, folder))
        stop = asyncio.create_task(stopping.wait())
        with err.status("stores, then processes, then quizzes"):
            await asyncio.wait({starting, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            await cancel(starting)
            return
        await starting
        if demo:
            players = DemoPlayers(
                Endpoints(stack.endpoints),
                demo,
                folder.secret("demo-players"),
                SAMPLES,
                folder.path / "logs" / DEMO_LOG,
            )
            players.start()
        _introduce(stack.endpoints, folder.path, players.names if players else [])
        await stop
    finally:
        warn("Stopping …")
        if players is not None:
            await players.stop()
        await stack.stop()


def _stop_on_signals() -> asyncio.Event:
    """Return an event that the first signal sets; a later one exits at once and the kernel kills the children."""
    stopping = asyncio.Event()
    first_signal = 0.0

    def on_signal() -> None:
        nonlocal first_signal
        if not stopping.is_set():
            first_signal = time.monotonic()
            stopping.set()
        elif time.monotonic() - first_signal > SECOND_SIGNAL_SECONDS:
            os._exit(EXIT_FINDING)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue  # nohup: keep running when the terminal closes
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    return stopping


async def _start(stack: Stack, folder: DataFolder) -> None:
    await stack.start()
    endpoints = Endpoints(stack.endpoints)
    warn("topten: importing the sample quizzes")
    await import_quizzes(
        endpoints, sample_files(), on_success=lambda _: None, on_problem=lambda line: warn(f"topten: {line}")
    )
    await wait_for_edge(stack.endpoints["http"])
    stack.publish(await _create_accounts(endpoints, folder))


async def _create_accounts(endpoints: Endpoints, folder: DataFolder) -> Mapping[str, Any]:
    """Create the demo players and the moderator unless they exist."""
    async with GraphqlClient(endpoints.graphql) as client:
        *players, moderator = await asyncio.gather(
            *(create_account(client, folder, name, country) for name, country in (*PLAYERS.items(), MODERATOR))
        )
    await grant_role(endpoints, moderator["username"], "moderator")
    return {"players": players, "moderator": moderator}


async def create_account(client: GraphqlClient, folder: DataFolder, name: str, country: str) -> dict[str, str]:
    """Create the account with this folder's password; under a longer name if the name has another password.

    It has one if the stores are shared, or if a backup of another system was restored into them.
    """
    password = folder.secret(f"password-{name}")
    if await client.register(name, password, country) is None:
        try:
            await client.login(name, password)
        except GraphqlError as error:
            if error.reason == "PLAYER_BLOCKED":
                return {"username": name, "password": password}
            if error.reason != "CREDENTIALS_INVALID":
                raise
            name = f"{name}-{folder.secret('names')[:8].lower()}"
            await client.register(name, password, country)
    return {"username": name, "password": password}


def _introduce(endpoints: Mapping[str, Any], data: Path, demo: Sequence[str]) -> None:
    player = endpoints["players"][0]
    commands = {_command(name, data): what for name, what in NEXT.items()}
    width = max(map(len, commands))
    lines = [
        "Topten is running",
        "",
        f"  page       {endpoints['http']}/",
        f"  GraphQL    {endpoints['graphql']}",
        f"  stream     {endpoints['stream']}",
        f"  sign in    {player['username']}  {player['password']}",
        *([f"  playing    {_several(demo)}"] if demo else []),
        f"  logs       {data / 'logs'}",
        "",
        "  In another terminal, from this folder:",
        *(f"    {command:<{width}}  {what}" for command, what in commands.items()),
        "",
        "  Ctrl-C stops everything; the data stays.",
    ]
    for line in lines:
        out.print(line, markup=False, soft_wrap=True, style="bold" if line == lines[0] else None)


def _command(name: str, data: Path) -> str:
    """A command as it can be typed in this folder: the path of this program, and the data folder unless it is the usual."""
    program = _nearby(Path(sys.argv[0])) if os.sep in sys.argv[0] else sys.argv[0]
    return shlex.join([program, name, *([] if data == DATA.resolve() else ["--data", _nearby(data)])])


def _nearby(path: Path) -> str:
    """A path relative to this folder if it is below it."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _several(names: Sequence[str]) -> str:
    """The number of simulated players, and some of their names."""
    few = ", ".join(names[:SHOWN_NAMES])
    return f"{len(names)} simulated players: {few}{', …' if len(names) > SHOWN_NAMES else ''}"
