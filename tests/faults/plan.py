"""The random sequence of faults, which the seed determines."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

PROCESSES: Final = ("edge", "edge-2", "quiz", "score", "leaderboard", "identity", "redis", "nats", "mongo")
# How often each kind occurs, and the processes that may have it.
KINDS: Final[dict[str, tuple[int, tuple[str, ...]]]] = {
    "kill": (8, PROCESSES),
    "stop": (4, PROCESSES),
    "flush": (2, ("redis",)),
    "unsubscribe": (2, ("redis",)),
    "kill-repeatedly": (1, PROCESSES),
    "restore": (2, ("mongo",)),
    "rewind": (2, ("mongo",)),
    "delete-stream": (2, ("nats",)),
    "empty-disk": (2, ("nats",)),
    "day-ahead": (1, ("score", "quiz")),
    "day-behind": (1, ("score", "quiz")),
}
# Faults that have a duration; for `restore` and `rewind` it is the age of the data that comes back.
_LASTING: Final = ("stop", "restore", "rewind", "day-ahead", "day-behind")


class Fault(NamedTuple):
    """A kind of fault, the process that has it, its duration, and the pause after it, in seconds."""

    kind: str
    name: str
    seconds: float
    pause: float

    def __str__(self) -> str:
        """The fault as one line of output."""
        return f"{self.kind} {self.name}" + (f" for {self.seconds:.1f} s" if self.seconds else "")


def plan(seed: int, longest: float, kinds: Collection[str] = ()) -> Iterator[Fault]:
    """An endless sequence of faults of these kinds, by default of all. None lasts longer than `longest` seconds."""
    chance = random.Random(seed)
    names = [kind for kind in KINDS if not kinds or kind in kinds]
    while True:
        kind = chance.choices(names, [KINDS[name][0] for name in names])[0]
        name = chance.choice(KINDS[kind][1])
        seconds = chance.uniform(1, longest) if kind in _LASTING else 0.0
        yield Fault(kind, name, seconds, chance.uniform(0.2, 3.0))
