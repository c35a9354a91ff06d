"""Simulate a spike too large for one machine: autoscaling, backlog and delay. Pure.

Time goes in steps of a second. Edge and quiz work while the player waits: what is more than they can do is refused, and
tried again by its player. Score works behind the stream: what is more waits there. The autoscaler follows the published
rule of Kubernetes' HorizontalPodAutoscaler: every 15 s it wants ceil(pods x used / target), at most doubles, and a pod
works `start_seconds` after it was wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

HPA_SECONDS: Final = 15
MAX_GROWTH: Final = 2


@dataclass(frozen=True)
class Component:
    """A deployment: the capacity of one pod in actions per second and core, and how it scales."""

    name: str
    cpu_ms: float
    pods: int
    most: int
    target: float = 0.6
    start_seconds: int = 30

    @property
    def capacity(self) -> float:
        """Actions per second of one pod with its own core."""
        return 1000 / self.cpu_ms


@dataclass
class _Deployment:
    """The state of a component: running pods, and pods that are starting."""

    component: Component
    pods: int
    coming: list[tuple[int, int]] = field(default_factory=list)

    def at(self, second: int) -> float:
        """The capacity in this second."""
        self.pods += sum(count for due, count in self.coming if due <= second)
        self.coming = [(due, count) for due, count in self.coming if due > second]
        return self.pods * self.component.capacity

    def scale(self, second: int, used: float) -> None:
        """Start pods if the utilization of the running ones is above the target."""
        wanted = math.ceil(self.pods * used / self.component.target)
        allowed = min(wanted, self.pods * MAX_GROWTH, self.component.most)
        have = self.pods + sum(count for _, count in self.coming)
        if allowed > have:
            self.coming.append((second + self.component.start_seconds, allowed - have))


class Moment(NamedTuple):
    """One second: actions offered, accepted and refused, pending events, and the delay of the boards in seconds."""

    second: int
    offered: float
    accepted: float
    refused: float
    waiting: float
    late: float
    edge: int
    quiz: int
    score: int


def spike(
    offered: Callable[[int], float], seconds: int, *, edge: Component, quiz: Component, score: Component
) -> Iterator[Moment]:
    """Simulate every second. A refused action is retried once after 2 s; `score.most` pods share the partitions."""
    deployments = {each.name: _Deployment(each, each.pods) for each in (edge, quiz, score)}
    again: dict[int, float] = {}
    waiting = 0.0
    for second in range(seconds):
        new = offered(second)
        wanted = new + again.pop(second, 0.0)
        capacities = {name: deployment.at(second) for name, deployment in deployments.items()}
        accepted = min(wanted, capacities["edge"], capacities["quiz"])
        refused = wanted - accepted
        again[second + 2] = min(refused, new)
        counted = min(waiting + accepted, capacities["score"])
        waiting += accepted - counted
        if second % HPA_SECONDS == 0:
            for name in ("edge", "quiz"):
                deployments[name].scale(second, min(1.0, wanted / capacities[name]))
            deployments["score"].scale(second, 1.0 if waiting >= 1 else counted / capacities["score"])
        yield Moment(
            second,
            new,
            accepted,
            refused,
            waiting,
            waiting / capacities["score"],
            *(deployments[name].pods for name in ("edge", "quiz", "score")),
        )


def provisioned(component: Component, actions: float) -> Component:
    """Return the component with the pods that keep it at its target at this rate of actions."""
    return replace(component, pods=max(2, math.ceil(actions / component.capacity / component.target)))


def tenfold(normal: float, *, begins: int = 60, lasts: int = 180, times: float = 10) -> Callable[[int], float]:
    """Return `normal` actions per second, and `times` as many from `begins` for `lasts` seconds."""
    return lambda second: normal * (times if begins <= second < begins + lasts else 1)
