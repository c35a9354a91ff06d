"""Numbers of contracts that are published as int32, while the sums behind them have 64 bits."""

from __future__ import annotations

from typing import Final

_MAX: Final = 2**31 - 1


def int32(number: int) -> int:
    """Return the number, or the nearest one that a signed 32-bit field can hold."""
    return number if -_MAX <= number <= _MAX else max(-_MAX - 1, min(_MAX, number))
