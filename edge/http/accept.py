"""The Accept header: which of the media types that a handler offers a client prefers (RFC 9110, 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from aiohttp import web

HTML: Final = "text/html"
_QUALITY: Final = re.compile(r"q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.ASCII | re.IGNORECASE)


class _Range(NamedTuple):
    """One media range. A range of exactly one type takes precedence over `type/*`, and that over `*/*`."""

    name: str
    quality: float


@lru_cache(maxsize=256)  # every request of a client has the same header
def preferred_type(accept: str, offered: tuple[str, ...], *, default: str) -> str | None:
    """Return the offered type that the header prefers; None if it accepts none of them.

    Of equally good types the one named first wins; `default` answers an empty header, and a wildcard if it is as good.
    """
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    if not ranges:
        return default
    order = {each.name: -position for position, each in reversed(list(enumerate(ranges)))}
    unnamed = -len(ranges)

    def preference(media_type: str) -> tuple[float, int, bool]:
        return _quality(media_type, ranges), order.get(media_type, unnamed), media_type == default

    best = max(offered, key=preference)
    return best if _quality(best, ranges) > 0 else None


def accepted_by(request: web.Request, offered: tuple[str, ...], *, default: str) -> str | None:
    """Return what `preferred_type` says of all Accept headers of a request."""
    if "Accept" not in request.headers:
        return default
    return preferred_type(",".join(request.headers.getall("Accept")), offered, default=default)


def prefers_page(request: web.Request, *others: str) -> bool:
    """Return whether a person's browser asks: it prefers HTML to the other types, the first of which is the default."""
    return accepted_by(request, (HTML, *others), default=others[0]) == HTML


def _range(text: str) -> _Range:
    """Parse one media range; parameters other than `q` are ignored, and a malformed `q` counts as 1."""
    name, *parameters = (part.strip() for part in text.split(";"))
    qualities = [match[1] for parameter in parameters if (match := _QUALITY.fullmatch(parameter))]
    return _Range(name.lower(), float(qualities[0]) if qualities else 1.0)


def _quality(media_type: str, ranges: Sequence[_Range]) -> float:
    for name in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        qualities = [each.quality for each in ranges if each.name == name]
        if qualities:
            return max(qualities)
    return 0.0
