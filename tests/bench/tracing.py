"""The cost of disabled tracing beside an empty `with` statement: `make bench ARGS=tracing`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from timeit import repeat

from services.runtime.telemetry import tracing

TIMES = 200_000
NOTHING = nullcontext()


def a_step() -> None:
    """Open a span within another, as each gRPC call does."""
    with tracing.step("call", "client"):
        pass


def a_batch() -> None:
    """Open a span for many traces, as each batch does."""
    with tracing.joined("count", "consumer", (), {}):
        pass


def nothing() -> None:
    """Measure the floor."""
    with NOTHING:
        pass


def main() -> None:
    """Measure, and print the result."""
    assert not tracing.is_on()
    floor = _nanoseconds(nothing)
    for name, work in (("a step", a_step), ("a batch", a_batch), ("what goes on in a message", tracing.cause)):
        spent = _nanoseconds(work)
        print(f"{name}, tracing off: {spent:.0f} ns, {spent / floor:.1f} × an empty with statement ({floor:.0f} ns)")


def _nanoseconds(work: Callable[[], object]) -> float:
    return min(repeat(work, number=TIMES, repeat=5)) / TIMES * 1e9
