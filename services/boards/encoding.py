"""The value that ranks a member of a board: points, with the moment they were reached in the fraction. Pure.

The value is `points + tie` with tie in [0, 1): of equal points, those reached earlier are greater. With t the seconds since
2020, T = 2^30 s (about 34 years) and b bits of resolution,

    tie = min(floor((1 - t/T) * 2^b), 2^b - 1) / 2^b        b = 52 - bit length of points

so that points and tie together fit the 53 bits of a double exactly, and floor(value) is the points. The formula does not
depend on the board: who has the same points since the same moment has the same value on every board. Moments less than
T / 2^b apart, which is 2^(bit length of points - 22) seconds, may be equal: 16 ms below 65 536 points, 1 s at 4 million.

Writers agree on one encoding (see `services.score.projection.loss_detection`): boards are rebuilt when it changes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from services.boards.periods.period import in_utc

# The number of this formula. Encoding 1 is the one of `former_encoding`.
ENCODING: Final = 2
MAX_POINTS: Final = 2**31 - 1
EPOCH: Final = datetime(2020, 1, 1, tzinfo=UTC)
SPAN: Final = timedelta(seconds=2**30)

_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SPAN_US = SPAN // _MICROSECOND
_ENDS_AT_US = (EPOCH + SPAN - _UNIX) // _MICROSECOND


def encode(points: int, reached_at: datetime) -> float:
    """Return the value of a member who reached `points` (1 to 2^31 - 1) at `reached_at`.

    More points are always a greater value; of equal points the earlier time is greater or, within the resolution, equal.
    A time outside of the 2^30 seconds from 2020 counts as their nearest end. Raises ValueError for points out of bounds.
    """
    return encode_us(points, (in_utc(reached_at) - _UNIX) // _MICROSECOND)


def encode_us(points: int, reached_at: int) -> float:
    """Encode as `encode` does, with the time in microseconds since 1970, which is faster for a million members."""
    if not 1 <= points <= MAX_POINTS:
        raise ValueError("points are out of bounds")
    return points + tie(resolution_bits(points), _ENDS_AT_US - reached_at, _SPAN_US)


def resolution_bits(points: int) -> int:
    """Return the bits of a value's fraction: all that the points leave free."""
    return 52 - points.bit_length()


def tie(bits: int, left: int, whole: int) -> float:
    """Return the fraction for a moment that is `left` of `whole` microseconds before the end, in `bits` bits."""
    # Whole microseconds: nothing is rounded before the floor.
    if left >= whole:
        steps = (1 << bits) - 1
    elif left <= 0:
        steps = 0
    else:
        steps = (left << bits) // whole
    return steps / (1 << bits)


def points_of(value: float, *, ascending: bool = False) -> int:
    """Return the points in a member's value, in every encoding; `ascending` where less is better, which 0 is no value of."""
    stored = int(value // 1)
    return mirrored(stored) if ascending and stored else stored


def mirrored(points: int) -> int:
    """Return the stored number for points (1 to 2^31 - 1) where less is better, and the points for a stored number."""
    return MAX_POINTS + 1 - points
