"""Runs a service whose clock is wrong: `python -m tests.faults.shifted <service> <seconds>`."""

from __future__ import annotations

import runpy
import sys
import time
from datetime import datetime, timedelta

from services.runtime import clock


def shift(seconds: float) -> None:
    """Move this process's clock: what services read as the time, and the time stamps of libraries."""
    now, stamp = clock.utc_now, time.time

    def shifted() -> datetime:
        return now() + timedelta(seconds=seconds)

    clock.utc_now = shifted
    time.time = lambda: stamp() + seconds


if __name__ == "__main__":
    service, seconds = sys.argv[1:]
    shift(float(seconds))
    sys.argv = [sys.argv[0]]
    runpy.run_module(f"services.{service}", run_name="__main__")
