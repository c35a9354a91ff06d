"""QR codes as SVG."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import segno

from services.runtime.errors import Reason, ServiceError

MAX_TEXT: Final = 300
CACHED: Final = 256
_MARGIN: Final = 4  # modules, ISO/IEC 18004


@lru_cache(CACHED)
def qr_svg(text: str, *, title: str) -> str:
    """Return a QR code as an SVG element that takes the size of its place, dark on light whatever is around it.

    At most 300 characters, which any camera reads from a screen. Raises INVALID_ARGUMENT for more.
    """
    if len(text) > MAX_TEXT:
        raise ServiceError(
            Reason.INVALID_ARGUMENT, f"The address is too long for a QR code: {MAX_TEXT} characters at most."
        )
    svg = segno.make_qr(text, error="m").svg_inline(
        border=_MARGIN, omitsize=True, dark="#000", light="#fff", title=title
    )
    return f'<svg role="img" {svg.removeprefix("<svg ")}'
