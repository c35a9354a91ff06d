"""`topten room open|results` and `topten demo room`: rooms of players, led by an account that may host."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.system.locate import NotRunningError
from services.cli.terminal import DATA, EXIT_USAGE, Data, fail, load_endpoints, out, run, say

if TYPE_CHECKING:
    from services.cli.system.client import Endpoints

group = typer.Typer(help="Open rooms, in which players play a quiz together.", no_args_is_help=True)
demo = typer.Typer(help="Play demonstrations with simulated players.", no_args_is_help=True)
Host = Annotated[
    str | None,
    typer.Option(
        help="Username of the account that hosts; its password is asked for. By default the moderator of `topten up`."
    ),
]


class Nicknames(StrEnum):
    """Where nicknames come from."""

    CHOSEN = "chosen"
    GENERATED = "generated"
    USERNAME = "username"


@group.command("open")
def open_room(
    quiz_id: Annotated[str, typer.Argument(metavar="QUIZ", help="ID of the quiz.")],
    seconds: Annotated[int, typer.Option(help="Time for each question; 0 leaves it to the host.", min=0, max=600)] = 0,
    lock_when_all_answered: Annotated[
        bool, typer.Option("--lock-when-all-answered", help="Lock a question once every player has answered it.")
    ] = False,
    speed_points: Annotated[bool, typer.Option("--speed-points", help="Early answers earn more.")] = False,
    frozen_questions: Annotated[
        int, typer.Option(help="Let the board stand still for this many last questions.", min=0, max=100)
    ] = 0,
    max_players: Annotated[int, typer.Option(help="Maximum number of players.", min=1, max=5000)] = 200,
    nicknames: Annotated[Nicknames, typer.Option(help="Where the names of players come from.")] = Nicknames.CHOSEN,
    counts: Annotated[bool, typer.Option("--counts", help="Count each account's answers on the boards.")] = False,
    proof_of_work: Annotated[
        bool, typer.Option("--proof-of-work", help="Let a device compute for a moment before its player gets a seat.")
    ] = False,
    co_hosts: Annotated[
        list[str] | None, typer.Option("--co-host", help="ID of an account that hosts, too; may be repeated.")
    ] = None,
    host: Host = None,
    data: Data = DATA,
) -> None:
    """Open a room and print how players join it: the PIN, the address, and in a terminal its QR code.

    The host leads it in a browser, signed in as the account that opened it.
    """
    if speed_points and not seconds:
        fail("--speed-points needs --seconds.", EXIT_USAGE)
    from services.cli.rooms import RoomHost, invitation
    from services.cli.system.client import GraphqlClient

    endpoints = load_endpoints(data)
    username, password = _credentials(endpoints, host)
    options = {
        "secondsPerQuestion": seconds,
        "lockWhenAllAnswered": lock_when_all_answered,
        "speedPoints": speed_points,
        "frozenQuestions": frozen_questions,
        "maxPlayers": max_players,
        "nicknames": nicknames.name,
        "countsOnBoards": counts,
        "proofOfWork": proof_of_work,
        "coHosts": co_hosts or [],
    }

    async def work() -> None:
        async with GraphqlClient(endpoints.graphql) as client:
            token = await client.login(username, password)
            opened = (await RoomHost.open(client, token, quiz_id, **options)).opened
        say(invitation(opened, with_code=out.is_terminal))
        say(f"room ID {opened['roomId']}, hosted by {username}")

    run(work())


class ResultsFormat(StrEnum):
    """How results are written."""

    JSON = "json"
    XLSX = "xlsx"
    PLAYERS_CSV = "players-csv"
    QUESTIONS_CSV = "questions-csv"


@group.command()
def results(
    room_id: Annotated[str, typer.Argument(metavar="ROOM", help="ID of the room, which `room open` prints.")],
    written: Annotated[ResultsFormat, typer.Option("--format", help="Format of the file.")] = ResultsFormat.XLSX,
    to: Annotated[Path, typer.Option(help="Folder of the file; an older one is replaced.")] = Path(),
    host: Host = None,
    data: Data = DATA,
) -> None:
    """Save the results of a room to a file that only you can read."""
    endpoints = load_endpoints(data)
    username, password = _credentials(endpoints, host)
    from services.cli.rooms import results_file
    from services.cli.system.client import GraphqlClient
    from services.runtime.files import replace_file

    async def work() -> None:
        async with GraphqlClient(endpoints.graphql) as client:
            token = await client.login(username, password)
            name, content = await results_file(client, token, room_id, written.name)
        to.mkdir(parents=True, exist_ok=True)
        replace_file(to / name, content)
        say(str(to / name))

    run(work())


@demo.command("room")
def demo_room(
    players: Annotated[int, typer.Option(help="Number of simulated players.", min=1, max=500)] = 50,
    skill: Annotated[float, typer.Option(help="Probability that a player knows an answer.", min=0, max=1)] = 0.7,
    quiz_id: Annotated[str, typer.Option("--quiz", help="ID of the quiz.")] = "solar-system",
    seconds: Annotated[float, typer.Option(help="Time for each question.", min=0, max=600)] = 5,
    pause: Annotated[float, typer.Option(help="Time for the lobby, each reveal and each board.", min=0, max=60)] = 2,
    proof_of_work: Annotated[
        bool, typer.Option("--proof-of-work", help="Let each player compute for a moment before they get a seat.")
    ] = False,
    host: Host = None,
    data: Data = DATA,
) -> None:
    """Play a room to its podium: simulated players join it as guests, and its host steps on by itself.

    Open the printed address to play along. The room ends with the command, also by Ctrl-C.
    """
    from services.cli.demo.demo_room import Plan, play_room

    endpoints = load_endpoints(data)
    plan = Plan(quiz_id, players, skill, seconds, pause, proof_of_work)
    run(play_room(endpoints, *_credentials(endpoints, host), plan, say))


def _credentials(endpoints: Endpoints, host: str | None) -> tuple[str, str]:
    """Return the account that hosts and its password. Exits if there is none."""
    if host is not None:
        return host, str(typer.prompt("Password", hide_input=True, err=True))
    try:
        return endpoints.moderator()
    except NotRunningError as error:
        fail(str(error), EXIT_USAGE)
