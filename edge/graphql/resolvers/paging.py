"""Pages of lists, as Relay has them. The services make the cursors; the edge forwards them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import strawberry

from edge.graphql.fields import Page

MAX_ENTRIES = 100
ENTRIES = Page("first", MAX_ENTRIES)
After = Annotated[
    str | None, strawberry.argument(description="The cursor after which the page starts; omit it for the first page.")
]
UpTo50 = Annotated[int, strawberry.argument(description="Maximum number of entries, 1 to 50.")]
UpTo100 = Annotated[int, strawberry.argument(description="Maximum number of entries, 1 to 100.")]


@strawberry.type(description="The position of a page in its list (Relay).")
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


def page_info(cursors: Sequence[str], next_page_token: str, after: str | None) -> PageInfo:
    """Describe the page after `after` whose entries have these cursors; without a next token it is the last."""
    return PageInfo(
        has_next_page=bool(next_page_token),
        has_previous_page=bool(after),
        start_cursor=cursors[0] if cursors else None,
        end_cursor=cursors[-1] if cursors else None,
    )
