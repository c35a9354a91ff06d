"""Encoding 1: the tie-break is relative to the board's period, in at most 30 bits. Pure.

Closed periods that were archived in it stay in it, and workers write it beside those that know no other. With t the time
since the start of the board's period and T the length of that period (2^30 s from 2020 without one), the fraction is that of
`encoding` with b = min(30, 52 - bit length of points).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from services.boards.board import Board, period_of
from services.boards.encoding import EPOCH, SPAN, resolution_bits, tie

FORMER_ENCODING: Final = 1
_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def encode_us(points: int, reached_at: int, board: Board) -> float:
    """Return the value of `points` (1 to 2^31 - 1) that were reached at a time in microseconds since 1970."""
    starts_at, whole = _scale(board)
    return points + tie(min(30, resolution_bits(points)), whole + starts_at - reached_at, whole)


@lru_cache(maxsize=4096)
def _scale(board: Board) -> tuple[int, int]:
    """Return the start of the board's period, in microseconds since 1970, and its length."""
    period = period_of(board)
    starts_at, length = (period.starts_at, period.ends_at - period.starts_at) if period else (EPOCH, SPAN)
    return (starts_at - _UNIX) // _MICROSECOND, length // _MICROSECOND
