"""Score on stores of a module, as in `tests/system`."""

from __future__ import annotations

from tests.system.conftest import servers, system

__all__ = ("servers", "system")
