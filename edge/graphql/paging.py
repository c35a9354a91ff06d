"""Pages of lists (Relay): how large, where they begin, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import strawberry

from services.runtime.errors import Reason, ServiceError

MAX_ENTRIES = 100


@strawberry.type(description="Where a page lies in a list (Relay).")
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


class Edge(Protocol):
    """One item of a page."""

    cursor: str


def page_info(edges: Sequence[Edge], *, more: bool, after: str | None) -> PageInfo:
    """What is said of a page that begins behind `after`; `more` if something follows it."""
    return PageInfo(
        has_next_page=more,
        has_previous_page=bool(after),
        start_cursor=edges[0].cursor if edges else None,
        end_cursor=edges[-1].cursor if edges else None,
    )


def check_size(name: str, value: int, maximum: int = MAX_ENTRIES) -> None:
    """Raises INVALID_ARGUMENT unless a page of `value` may be asked for."""
    if not 1 <= value <= maximum:
        raise ServiceError(Reason.INVALID_ARGUMENT, f"{name} must be 1 to {maximum}")
