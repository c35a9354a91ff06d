"""The identity of the data that something was read from; see `same_data`. Knows no driver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class DataIdentity(NamedTuple):
    """Which data is read: the UUID of each collection, and the run and election of the primary; empty if hidden."""

    collections: Mapping[str, bytes]
    primary: str
