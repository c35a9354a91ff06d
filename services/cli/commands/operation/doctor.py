"""`topten doctor`: the health of a running system on one screen, here or elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from services.cli.terminal import DATA, EXIT_FINDING, EXIT_USAGE, Data, fail, load_endpoints, run, show_table

if TYPE_CHECKING:
    from services.diagnosis.checks import Check


def doctor(
    url: Annotated[
        str | None, typer.Option(help="Address of a system elsewhere; by default the system of the data folder.")
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(help="With --url: metrics of a process, such as http://10.0.0.7:9102/metrics; may be repeated."),
    ] = None,
    data: Data = DATA,
) -> None:
    """Check processes, stores, the event pipeline and what players get; exit code 1 if something is wrong.

    Each finding names the section of the documentation that says what to do.
    """
    for address in (url, *(metrics or ())):
        if address is not None and urlsplit(address).scheme not in ("http", "https"):
            fail(f"Invalid address {address!r}: it must begin with http:// or https://.", EXIT_USAGE)
    if metrics and url is None:
        fail("--metrics needs --url; for a local system the addresses are in the data folder.", EXIT_USAGE)
    endpoints = None if url else load_endpoints(data)
    from services.cli.diagnosis.examination import examine_local, examine_remote

    sections = run(examine_local(endpoints) if endpoints else examine_remote(url or "", metrics or []))
    _print(sections)
    if any(check.runbook for checks in sections.values() for check in checks):
        raise typer.Exit(EXIT_FINDING)


def _print(sections: Mapping[str, Sequence[Check]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(overflow="fold")
    table.add_column()
    table.add_column(overflow="fold")
    for title, checks in sections.items():
        table.add_row(Text(title, style="bold"), "", "")
        for check in checks:
            mark = Text("wrong", style="red") if check.runbook else Text("ok", style="green")
            text = Text(check.text)
            if check.runbook:
                text.append(f"\n→ {check.runbook}", style="dim")
            table.add_row(f"  {check.subject}", mark, text)
    show_table(table)
