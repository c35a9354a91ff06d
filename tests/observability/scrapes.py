"""The metrics of a running system at one moment: every sample of every process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.deadline import deadline_seconds
from tests.servers import RunningStack


@dataclass(frozen=True)
class Series:
    """One time series; its labels include the process, as Prometheus would add it."""

    name: str
    labels: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """The series in the notation of promtool's tests."""
        escaped = (f'{key}="{value}"' for key, value in self.labels)
        return f"{self.name}{{{', '.join(escaped)}}}"


class Scrape(dict[Series, float]):
    """Samples by their series."""

    def total(self, name: str, **labels: str) -> float:
        """Sum the series with these labels over all processes; fails if there is none."""
        values = list(self.values_of(name, **labels))
        assert values, f"no process reports {name}{labels or ''}"
        return sum(values)

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
    """Scrape every process of the stack, without those that do not respond."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        samples = await asyncio.gather(
            *(_samples(session, process, url) for process, url in stack.endpoints["metrics"].items())
        )
    return Scrape(chain.from_iterable(samples))


async def eventually(stack: RunningStack, holds: Callable[[Scrape], bool]) -> Scrape:
    """Scrape until the condition holds, and return that scrape; fails at the deadline with the last one."""
    last = Scrape()
    try:
        async with asyncio.timeout(deadline_seconds()):
            while not holds(last := await scrape(stack)):
                await asyncio.sleep(0.1)
    except TimeoutError:
        samples = "\n".join(f"{series.text} {value}" for series, value in last.items() if "_bucket" not in series.name)
        raise AssertionError(f"not within {deadline_seconds():g} s; the last scrape was\n{samples}") from None
    return last


async def _samples(session: aiohttp.ClientSession, process: str, url: str) -> list[tuple[Series, float]]:
    try:
        async with session.get(url) as answer:
            text = await answer.text()
    except (aiohttp.ClientError, TimeoutError):
        return []
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return [(_series(process, series), float(value)) for series, _, value in lines]


@cache
def _series(process: str, text: str) -> Series:
    """A series by its text in a process's metrics, which is parsed once for all scrapes: parsing takes most of one."""
    (family,) = text_string_to_metric_families(f"{text} 0\n")
    (sample,) = family.samples
    return Series(sample.name, tuple(sorted({"job": process, **sample.labels}.items())))
