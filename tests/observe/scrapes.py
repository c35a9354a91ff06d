"""What a running system says of itself at one moment: every sample of every process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.servers import RunningStack

PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Series:
    """One time series; `labels` has the process as Prometheus would add it."""

    name: str
    labels: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """As it is written in a test of promtool."""
        escaped = (f'{key}="{value}"' for key, value in self.labels)
        return f"{self.name}{{{', '.join(escaped)}}}"


class Scrape(dict[Series, float]):
    """The samples by their series."""

    def total(self, name: str, **labels: str) -> float:
        """The sum over all processes of the series with these labels; fails if there is none."""
        found = list(self.values_of(name, **labels))
        assert found, f"nothing says {name}{labels or ''}"
        return sum(found)

    def values_of(self, name: str, **labels: str) -> Iterator[float]:
        """The values of the series with these labels."""
        for series, value in self.items():
            if series.name == name and labels.items() <= dict(series.labels).items():
                yield value

    @property
    def names(self) -> set[str]:
        """The names of all samples."""
        return {series.name for series in self}


async def scrape(stack: RunningStack) -> Scrape:
    """What the processes of the stack say now; one that does not answer is left out."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        found = await asyncio.gather(
            *(_samples(session, process, url) for process, url in stack.endpoints["metrics"].items())
        )
    return Scrape(chain.from_iterable(found))


async def eventually(stack: RunningStack, holds: Callable[[Scrape], bool]) -> Scrape:
    """The first scrape for which this holds; fails after 30 s."""
    found = Scrape()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds(found := await scrape(stack)):
                await asyncio.sleep(0.1)
    except TimeoutError:
        said = "\n".join(f"{series.text} {value}" for series, value in found.items() if "_bucket" not in series.name)
        raise AssertionError(f"not within {PATIENCE_SECONDS} s; the last scrape was\n{said}") from None
    return found


async def _samples(session: aiohttp.ClientSession, process: str, url: str) -> list[tuple[Series, float]]:
    try:
        async with session.get(url) as answer:
            text = await answer.text()
    except (aiohttp.ClientError, TimeoutError):
        return []
    return [
        (Series(sample.name, tuple(sorted({"job": process, **sample.labels}.items()))), float(sample.value))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
