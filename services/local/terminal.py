"""What the commands share at the terminal: the data option, running a coroutine, and how a failure looks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeVar

import aiohttp
import grpc
import typer
from rich.console import Console

from services.local.client import GraphqlError, NotRunningError, describe
from services.runtime.errors import ServiceError

T = TypeVar("T")

FOUND: Final = 1
USAGE: Final = 2
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Data = Annotated[
    Path,
    typer.Option(
        "--data",
        envvar="TOPTEN_LOCAL_DATA",
        help="The data folder of the system; its endpoints.json says where the system is. "
        "TOPTEN_LOCAL_ENDPOINTS names such a file of a system elsewhere.",
    ),
]
DATA: Final = Path(".topten")


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; what it could not do becomes one line and an exit code."""
    try:
        return asyncio.run(work)
    except NotRunningError as error:
        fail(str(error), USAGE)
    except (ServiceError, GraphqlError, aiohttp.ClientError, grpc.aio.AioRpcError, OSError, TimeoutError) as error:
        fail(describe(error), FOUND)


def fail(message: str, code: int) -> NoReturn:
    """Say why on stderr and exit."""
    err.print(f"topten: {message}", markup=False, soft_wrap=True)
    raise typer.Exit(code)
