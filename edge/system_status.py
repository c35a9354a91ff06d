"""The status of the system as this edge sees it: one replica of every process, judged by the checks of `topten doctor`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from topten.score.v1 import score_pb2
from topten.score.v1 import score_service_pb2 as score
from topten.status.v1 import status_service_pb2 as status

from edge.upstreams import Upstreams
from services.diagnosis.checks import (
    SAMPLES,
    Check,
    check_dead_letters,
    check_pipeline,
    check_players,
    check_process,
    check_reach,
    check_utilization,
    totals_of,
)
from services.diagnosis.process_status import ProcessStatus
from services.diagnosis.rates import Rates
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call
from services.runtime.grpc.status import samples

STATUS_SECONDS: Final = 3.0
MAX_COUNTED_LETTERS: Final = 100
_EDGE: Final = "edge"
# What proves that the caller may not ask, rather than that a process is away.
_REFUSALS: Final = (Reason.PERMISSION_DENIED, Reason.UNAUTHENTICATED)


class Section(NamedTuple):
    """Checks of one kind; `name` is a word of the API."""

    name: str
    checks: list[Check]


async def read_sections(upstreams: Upstreams, token: str, rates: Rates) -> list[Section]:
    """Read and judge the status of every process. One that is away is a finding, not an error. `rates` are those of this edge.

    Raises PERMISSION_DENIED and UNAUTHENTICATED for a token that may not read it.
    """
    services, dead_letters = await asyncio.gather(
        asyncio.gather(*(_read(upstreams, name, token) for name in upstreams.status)),
        _check_dead_letters(upstreams, token),
    )
    edge = _status(_EDGE, samples(SAMPLES), 0.0)
    processes = [edge, *services]
    return [
        Section("PROCESSES", [check_process(process) for process in processes]),
        Section("STORES", [*check_reach(processes), *check_utilization(processes)]),
        Section("PIPELINE", [*check_pipeline(processes), dead_letters]),
        Section("PLAYERS", check_players(processes, rates.read(totals_of([edge]), time.monotonic()))),
    ]


async def _read(upstreams: Upstreams, name: str, token: str) -> ProcessStatus:
    request = status.GetStatusRequest(names=SAMPLES)
    try:
        response = await call(upstreams.status[name].GetStatus, request, token=token, timeout=STATUS_SECONDS)
    except ServiceError as error:
        if error.reason in _REFUSALS:
            raise
        return ProcessStatus(name)
    return _status(name, response.samples, response.timestamp.ToNanoseconds() / 1e9 - time.time())


async def _check_dead_letters(upstreams: Upstreams, token: str) -> Check:
    request = score.ListDeadLettersRequest(page_size=MAX_COUNTED_LETTERS, state=score_pb2.DEAD_LETTER_STATE_DEAD)
    try:
        page = await call(upstreams.score.ListDeadLetters, request, token=token, timeout=STATUS_SECONDS)
    except ServiceError as error:
        if error.reason in _REFUSALS:
            raise
        return check_dead_letters("unavailable", wrong=True)
    count = f"{len(page.letters)}{' or more' if page.next_page_token else ''}"
    return check_dead_letters(f"{count} need attention", wrong=bool(page.letters))


def _status(name: str, found: Iterable[status.Sample], clock_skew: float) -> ProcessStatus:
    values: Mapping[tuple[str, frozenset[tuple[str, str]]], float] = {
        (sample.name, frozenset(sample.labels.items())): sample.value for sample in found
    }
    return ProcessStatus(name, values, ready=True, clock_skew=clock_skew)
