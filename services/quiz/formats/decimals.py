"""Exact decimals of files, for the keys of numeric questions."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,15}(?:[.,][0-9]{0,15})?(?:[eE][+-]?[0-9]{1,2})?")
# See NumericKey of the contract.
_MAX_WHOLE: Final = 15
_MAX_FRACTION: Final = 9
NOT_A_NUMBER: Final = "has an answer that is not a number"


def decimal(text: str) -> str:
    """Return a number without an exponent. Raises ValueError for any other text, and beyond the bounds of questions."""
    plain = text.strip()
    if not _NUMBER.fullmatch(plain):
        raise ValueError(NOT_A_NUMBER)
    return _written(Decimal(plain.replace(",", ".")))


def middle(low: str, high: str) -> tuple[str, str]:
    """Return the number and the tolerance of a range. Raises ValueError as `decimal`."""
    first, last = Decimal(decimal(low)), Decimal(decimal(high))
    return _written((first + last) / 2), _written(abs(last - first) / 2)


def _written(number: Decimal) -> str:
    whole, _, fraction = f"{number:f}".partition(".")
    if len(fraction) > _MAX_FRACTION:
        fraction = fraction.rstrip("0")
    if len(whole.lstrip("-")) > _MAX_WHOLE or len(fraction) > _MAX_FRACTION:
        raise ValueError(f"has a number with more than {_MAX_WHOLE} digits before or {_MAX_FRACTION} after the point")
    return f"{whole}.{fraction}" if fraction else whole
