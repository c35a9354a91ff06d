"""The status of processes, read from their operations ports."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from services.diagnosis.process_status import ProcessStatus

REQUEST_SECONDS: Final = 4.0


async def fetch_statuses(addresses: Mapping[str, str]) -> list[ProcessStatus]:
    """Fetch the status of every process, given its name and the address of its metrics."""
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        return list(await asyncio.gather(*(_fetch(session, name, url) for name, url in addresses.items())))


async def _fetch(session: aiohttp.ClientSession, name: str, url: str) -> ProcessStatus:
    try:
        async with session.get(url) as response:
            text = await response.text()
            now = time.time()
            date = response.headers.get("Date")
        async with session.get(url.removesuffix("/metrics") + "/readyz") as response:
            ready = response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return ProcessStatus(name)
    return ProcessStatus(
        name=name,
        samples={
            (sample.name, frozenset(sample.labels.items())): float(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        },
        ready=ready,
        # A date is cut to the second: half of one is the expected remainder.
        clock_skew=0.0 if date is None else parsedate_to_datetime(date).timestamp() - now + 0.5,
    )
