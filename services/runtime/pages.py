"""Streams of items in lists: pages of a size, and runs of what belongs together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TypeVar

T = TypeVar("T")


async def pages(items: AsyncIterator[T], size: int) -> AsyncIterator[list[T]]:
    """Yield all items in order, in lists of `size`; the last one may be shorter, and none is empty."""
    page: list[T] = []
    async for item in items:
        page.append(item)
        if len(page) >= size:
            yield page
            page = []
    if page:
        yield page


async def runs(items: AsyncIterator[T], key: Callable[[T], object]) -> AsyncIterator[list[T]]:
    """Yield all items in order, in lists of those that follow one another with an equal key; none is empty."""
    run: list[T] = []
    async for item in items:
        if run and key(item) != key(run[0]):
            yield run
            run = []
        run.append(item)
    if run:
        yield run
