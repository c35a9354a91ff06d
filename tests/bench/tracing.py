"""What tracing costs where it is off, beside a `with` statement that does nothing: `make bench ARGS=tracing`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from timeit import repeat

from services.runtime import tracing

TIMES = 200_000
NOTHING = nullcontext()


def a_step() -> None:
    """A span within another, as each call of gRPC makes one."""
    with tracing.step("call", "client"):
        pass


def a_batch() -> None:
    """A span for many traces, as each batch makes one."""
    with tracing.joined("count", "consumer", (), {}):
        pass


def nothing() -> None:
    """The floor."""
    with NOTHING:
        pass


def main() -> None:
    """Measure and print."""
    assert not tracing.is_on()
    floor = _nanoseconds(nothing)
    for name, work in (("a step", a_step), ("a batch", a_batch), ("what goes on in a message", tracing.cause)):
        spent = _nanoseconds(work)
        print(f"{name}, tracing off: {spent:.0f} ns, {spent / floor:.1f} × an empty with statement ({floor:.0f} ns)")


def _nanoseconds(work: Callable[[], object]) -> float:
    return min(repeat(work, number=TIMES, repeat=5)) / TIMES * 1e9
