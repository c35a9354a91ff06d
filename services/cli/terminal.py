"""What all commands share at the terminal: the data option, output, exit codes, and how a failure is reported."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeVar

import typer
from rich.console import Console

from services.cli.system.locate import DEFAULT_FOLDER, NotRunningError, read_endpoints

if TYPE_CHECKING:
    from rich.table import Table

    from services.cli.system.client import Endpoints

T = TypeVar("T")

DATA: Final = DEFAULT_FOLDER

EXIT_FINDING: Final = 1
EXIT_USAGE: Final = 2
UNBOUNDED: Final = 100_000
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Data = Annotated[
    Path,
    typer.Option(
        "--data",
        envvar="TOPTEN_LOCAL_DATA",
        help="Data folder of the system; its endpoints.json has the addresses. TOPTEN_LOCAL_ENDPOINTS names such a file "
        "for a system elsewhere.",
    ),
]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` and return its result; an expected failure becomes one line on stderr and an exit code."""
    import aiohttp
    import grpc

    from services.cli.system.client import GraphqlError, describe
    from services.cli.typed_names import of_command
    from services.runtime.errors import ServiceError

    try:
        return run_loop(work)
    except NotRunningError as error:
        fail(str(error), EXIT_USAGE)
    except (ServiceError, GraphqlError) as error:
        hint = " `topten status` shows what is away." if error.reason == "UNAVAILABLE" else ""
        fail(describe(error, of_command) + hint, EXIT_FINDING)
    except (aiohttp.ClientError, grpc.aio.AioRpcError, OSError, TimeoutError) as error:
        fail(describe(error), EXIT_FINDING)


def run_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` in an event loop and return its result; what it logs goes to stderr with its secrets redacted."""
    import asyncio

    from services.runtime.telemetry.logging import configure_logs

    configure_logs("topten")
    return asyncio.run(work)


def load_endpoints(data: Path) -> Endpoints:
    """Load the addresses of the system of a data folder; exit if there is none."""
    try:
        document = read_endpoints(data)
    except NotRunningError as error:
        fail(str(error), EXIT_USAGE)
    from services.cli.system.client import Endpoints

    return Endpoints(document)


def say(line: str) -> None:
    """Print one line on stdout, unwrapped and without markup."""
    out.print(line, markup=False, soft_wrap=True)


@contextmanager
def listing(what: str) -> Iterator[Callable[[str], None]]:
    """Print a list, one line for each call of the result. Without any, stderr says so, and stdout stays empty for programs."""
    lines = 0

    def report(line: str) -> None:
        nonlocal lines
        lines += 1
        say(line)

    yield report
    if not lines:
        warn(f"No {what}.")


def table_of(*headings: str) -> Table:
    """A table without lines. The names in its first column stay whole in a narrow terminal; the other columns are folded."""
    from rich.table import Table

    rows = Table(box=None, pad_edge=False)
    for place, heading in enumerate(headings):
        rows.add_column(heading, overflow="fold", no_wrap=place == 0)
    return rows


def show_table(rows: Table, what: str = "") -> None:
    """Print a table on stdout: as wide as the terminal, into a pipe or a file one line for each row, however long.

    Without a row, stderr says that there are no `what`, if it is given.
    """
    if what and not rows.row_count:
        warn(f"No {what}.")
        return
    if not out.is_terminal:
        out.width = UNBOUNDED
    out.print(rows)


def warn(line: str) -> None:
    """Print one line on stderr, unwrapped and without markup."""
    err.print(line, markup=False, soft_wrap=True)


def duration_of(option: str, text: str) -> timedelta:
    """Return the duration that an option has, such as `1h`; exit if it is malformed."""
    from services.runtime.config.values import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        fail(f"{option} {text}: {error}.", EXIT_USAGE)


def fail(message: str, code: int) -> NoReturn:
    """Print the reason on stderr and exit."""
    fail_with([message], code)


def fail_with(messages: Iterable[str], code: int) -> NoReturn:
    """Print every reason on stderr, one a line, and exit."""
    for message in messages:
        warn(f"topten: {message}")
    raise typer.Exit(code)
