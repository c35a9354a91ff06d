"""Streams of items in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
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
