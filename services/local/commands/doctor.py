"""`topten doctor`: one screen on the health of a running system, here or elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import aiohttp
import typer
from rich.table import Table
from rich.text import Text

from services.local import checkup
from services.local.checkup import Line
from services.local.client import Endpoints, NotRunningError
from services.local.commands.dlq import waiting_letters
from services.local.said import Said, ask, total
from services.local.terminal import DATA, FOUND, USAGE, Data, fail, out, run

ANSWER_SECONDS = 4.0


def doctor(
    url: Annotated[
        str | None, typer.Option(help="The address of a system elsewhere; without it the one of the data folder.")
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(help="With --url: a process's metrics, such as http://10.0.0.7:9102/metrics; repeat it."),
    ] = None,
    data: Data = DATA,
) -> None:
    """Show whether each process serves, each store answers and keeps, and what waits where; exit code 1 if something is wrong.

    Each finding names the page that says what to do.
    """
    for address in (url, *(metrics or ())):
        if address is not None and urlsplit(address).scheme not in ("http", "https"):
            fail(f"{address} is no http:// or https:// address", USAGE)
    if metrics and url is None:
        fail("--metrics goes with --url; here the addresses are known", USAGE)
    sections = run(_remote(url, metrics or []) if url else _local(data))
    _show(sections)
    if any(line.runbook for lines in sections.values() for line in lines):
        raise typer.Exit(FOUND)


async def _local(data: Path) -> dict[str, list[Line]]:
    endpoints = Endpoints.load(data)
    document: Mapping[str, Any] = endpoints.document
    processes = await ask(document["metrics"])
    database = checkup.database_of(os.environ)
    sections = _sections([await _edge(document["http"]), *map(checkup.of_process, processes)], processes)
    sections["stores"] = await checkup.of_stores(document["stores"], database, processes)
    sections["what waits"].append(await _letters(data))
    return sections


async def _remote(url: str, addresses: Sequence[str]) -> dict[str, list[Line]]:
    processes = await ask({address: address for address in addresses})
    sections = _sections([await _edge(url), *map(checkup.of_process, processes)], processes)
    if processes:
        sections["stores"] = await checkup.of_stores({}, "", processes)
        buried = total(processes, "topten_dead_letters_total")
        sections["what waits"].append(_dead(f"{buried:.0f} since the start", wrong=buried > 0))
    return sections


def _sections(served: list[Line], processes: Sequence[Said]) -> dict[str, list[Line]]:
    if not processes:
        return {"processes": served}
    return {
        "processes": served,
        "players, since the start": checkup.of_players(processes),
        "what waits": checkup.of_pipeline(processes),
    }


async def _edge(http: str) -> Line:
    """What a client finds at the door."""
    runbook = "docs/operations.md#toptengraphql"
    try:
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{http.rstrip('/')}/readyz") as answer,
        ):
            checks = (await answer.json(content_type=None)).get("checks", {})
    except (aiohttp.ClientError, TimeoutError, ValueError, AttributeError):
        return Line(http, "does not answer", runbook)
    failing = [name for name, outcome in checks.items() if outcome != "ok"]
    if answer.status != 200:
        return Line(http, f"not ready: {', '.join(failing)}", runbook)
    return Line(http, "ready: everything behind it serves")


async def _letters(data: Path) -> Line:
    try:
        count = len(await waiting_letters(data))
    except NotRunningError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever keeps it from being told is a line of this screen
        return _dead(f"can't be told ({type(error).__name__})", wrong=True)
    return _dead(f"{count} wait for somebody to look at them", wrong=count > 0)


def _dead(says: str, *, wrong: bool) -> Line:
    return Line("dead letters", says, "docs/operations.md#toptendeadletters" if wrong else "")


def _show(sections: Mapping[str, Sequence[Line]]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(overflow="fold")
    table.add_column()
    table.add_column(overflow="fold")
    for title, lines in sections.items():
        table.add_row(Text(title, style="bold"), "", "")
        for line in lines:
            mark = Text("wrong", style="red") if line.runbook else Text("ok", style="green")
            says = Text(line.says)
            if line.runbook:
                says.append(f"\n→ {line.runbook}", style="dim")
            table.add_row(f"  {line.what}", mark, says)
    out.print(table)
