"""Runs a service that kills itself at a crash point: `python -m tests.faults.crashing <point> [n-th time]`."""

from __future__ import annotations

import runpy
import sys

from tests.faults.crash_points import arm

if __name__ == "__main__":
    point, nth = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    arm(point, nth)
    sys.argv = [sys.argv[0]]
    runpy.run_module(f"services.{point.partition('.')[0]}", run_name="__main__")
