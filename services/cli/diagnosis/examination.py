"""The examination of a whole system: sections of checks, from its own data folder or over the network."""

from __future__ import annotations

import os
from collections.abc import Sequence

import aiohttp

from services.cli.dead_letters import list_dead_letters
from services.cli.diagnosis.operations_ports import REQUEST_SECONDS, fetch_statuses
from services.cli.diagnosis.store_checks import check_stores
from services.cli.system.client import Endpoints
from services.diagnosis import checks
from services.diagnosis.checks import Check
from services.diagnosis.process_status import ProcessStatus, total
from services.runtime.config.settings import MongoConfig

Sections = dict[str, list[Check]]
PIPELINE = "pipeline"


async def examine_local(endpoints: Endpoints) -> Sections:
    """Examine the system of a data folder: its processes, its stores and its dead letters."""
    document = endpoints.document
    processes = await fetch_statuses(document["metrics"])
    sections = await _examine_processes(document["http"], processes)
    database = os.environ.get("TOPTEN_MONGO_DATABASE") or MongoConfig().database
    sections["stores"] = await check_stores(document["stores"], database, processes)
    try:
        count = len(await list_dead_letters(endpoints))
        dead = checks.check_dead_letters(f"{count} need attention", wrong=count > 0)
    except Exception as error:  # noqa: BLE001  # whatever the cause, the other checks are still worth printing
        dead = checks.check_dead_letters(f"unavailable ({type(error).__name__})", wrong=True)
    sections[PIPELINE].append(dead)
    return sections


async def examine_remote(url: str, metrics: Sequence[str]) -> Sections:
    """Examine a system elsewhere by its public address and the metrics of its processes."""
    processes = await fetch_statuses({address: address for address in metrics})
    sections = await _examine_processes(url, processes)
    if processes:
        sections["stores"] = [*checks.check_reach(processes), *await check_stores({}, "", processes)]
        dead = total(processes, "topten_dead_letters_total")
        sections[PIPELINE].append(checks.check_dead_letters(f"{dead:.0f} since the start", wrong=dead > 0))
    return sections


async def _examine_processes(http: str, processes: Sequence[ProcessStatus]) -> Sections:
    sections = {"processes": [await _check_edge(http), *map(checks.check_process, processes)]}
    if processes:
        sections["players, since the start"] = checks.check_players(processes)
        sections[PIPELINE] = checks.check_pipeline(processes)
    return sections


async def _check_edge(http: str) -> Check:
    """Check the public readiness of the edge, which covers every service behind it."""
    runbook = f"{checks.RUNBOOKS}toptengraphql"
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{http.rstrip('/')}/readyz") as response,
        ):
            outcomes = (await response.json(content_type=None)).get("checks", {})
    except (aiohttp.ClientError, TimeoutError, ValueError, AttributeError):
        return Check(http, "does not respond", runbook)
    failing = [name for name, outcome in outcomes.items() if outcome != "ok"]
    if response.status != 200:
        return Check(http, f"not ready: {', '.join(failing)}", runbook)
    return Check(http, "ready, with every service behind it")
