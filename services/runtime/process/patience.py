"""Timers that may be late while the process has no work: all of them fire together, and are on time again when work comes.

For tasks of drivers that look twice a second, each at its own moment, whether there is something to do. Waking up for one of
them costs several times what it does.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final, TypeVarTuple
from weakref import WeakSet

from services.runtime.process.activity import PROCESS, TOGETHER_SECONDS, Activity

# Shorter timers are always on time.
LEAST_SECONDS: Final = 0.5
Ts = TypeVarTuple("Ts")
_patient: ContextVar[bool] = ContextVar("patient", default=False)


@contextmanager
def patience() -> Iterator[None]:
    """Let the timers of every task that is started within the block be late, and those of the tasks that it starts."""
    token = _patient.set(True)
    try:
        yield
    finally:
        _patient.reset(token)


class _LateTimer:
    """What a timer calls, once. The loop's handle alone keeps it alive."""

    def __init__(self, due: float, callback: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        self.due = due
        self.context = context
        self._callback: Callable[..., object] | None = callback
        self._args = args

    def __call__(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback(*self._args)


class PatientLoop(asyncio.SelectorEventLoop):
    """An event loop whose `call_later` knows `patience`.

    A timer that was brought forward calls back even if it is canceled afterwards. That does no harm to `asyncio.sleep`, `wait`
    and `wait_for`, whose callbacks do nothing once nobody waits. `asyncio.timeout` uses `call_at`, and is always exact.
    """

    def __init__(self, activity: Activity = PROCESS) -> None:
        super().__init__()
        self._activity = activity
        self._late: WeakSet[_LateTimer] = WeakSet()
        activity.on_work(self._bring_forward)

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        if delay < LEAST_SECONDS or not _patient.get() or self._activity.works_for(0):
            return super().call_later(delay, callback, *args, context=context)
        timer = _LateTimer(self.time() + delay, callback, args, context or copy_context())
        self._late.add(timer)
        return self.call_at(math.ceil(timer.due / TOGETHER_SECONDS) * TOGETHER_SECONDS, timer, context=timer.context)

    def _bring_forward(self) -> None:
        for timer in list(self._late):
            self.call_at(timer.due, timer, context=timer.context)
        self._late.clear()
