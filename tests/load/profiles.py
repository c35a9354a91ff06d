"""The five profiles, and the requests that come with one action. Pure.

Durations are in minutes at scale 1, as the specification asks for them; a stage goes in a straight line from where the
one before it ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple


class Stage(NamedTuple):
    """Minutes in which the traffic changes to `times` the normal rate."""

    times: float
    minutes: float


@dataclass(frozen=True)
class Profile:
    """A shape of traffic. `is_judged`: the thresholds decide whether it passed; beyond capacity they only inform."""

    title: str
    stages: tuple[Stage, ...]
    begins_at: float = 1
    is_judged: bool = True

    @property
    def minutes(self) -> float:
        """Its duration at scale 1, in minutes."""
        return sum(stage.minutes for stage in self.stages)

    @property
    def peak(self) -> float:
        """Its highest traffic, in multiples of the normal rate."""
        return max(self.begins_at, *(stage.times for stage in self.stages))


def _steps(upto: int, minutes: float) -> tuple[Stage, ...]:
    """Return stages that rise by one normal rate each: a tenth of a step to rise, the rest to observe."""
    return tuple(stage for n in range(1, upto + 1) for stage in (Stage(n, minutes * 0.1), Stage(n, minutes * 0.9)))


PROFILES: Final = {
    "baseline": Profile("Normal traffic", (Stage(1, 30),)),
    "peak": Profile("The most that is expected", (Stage(3, 1), Stage(3, 14))),
    "stress": Profile("Beyond capacity, to find the limit", _steps(12, 5), is_judged=False),
    "spike": Profile(
        "Ten times as much within seconds",
        (Stage(1, 2), Stage(10, 0.25), Stage(10, 3), Stage(1, 0.25), Stage(1, 4.5)),
        is_judged=False,
    ),
    "endurance": Profile("Normal traffic for hours", (Stage(1, 240),)),
}


class Kind(NamedTuple):
    """One kind of request: how many come with each action, and the limits of its latency, in milliseconds."""

    per_action: float
    p95: int
    p99: int


# Four of five actions come through GraphQL, the others through gRPC; players read more often than they act.
KINDS: Final = {
    "submit_graphql": Kind(0.8, 500, 1000),
    "submit_grpc": Kind(0.2, 500, 1000),
    "read_graphql": Kind(4.0, 300, 800),
    "read_grpc": Kind(0.5, 300, 800),
}
MAX_ERRORS: Final = 0.01


def scenarios(profile: Profile, rate: float, scale: float, most_players: int) -> dict[str, dict[str, Any]]:
    """The profile for k6: an open loop, in which a request is due whether or not earlier ones have a response.

    `rate` is the normal number of actions a second, `scale` shortens or lengthens every stage. `most_players` share the
    requests in flight; what is due when all of them wait is counted as dropped.
    """
    whole = sum(kind.per_action for kind in KINDS.values())
    return {
        name: {
            "executor": "ramping-arrival-rate",
            "exec": name,
            "timeUnit": "1m",
            "startRate": _a_minute(rate * kind.per_action * profile.begins_at),
            "stages": [
                {
                    "target": _a_minute(rate * kind.per_action * stage.times),
                    "duration": f"{max(1, round(stage.minutes * 60_000 * scale))}ms",
                }
                for stage in profile.stages
            ],
            "preAllocatedVUs": (players := max(2, int(most_players * kind.per_action / whole))),
            "maxVUs": players,
            "gracefulStop": "30s",
        }
        for name, kind in KINDS.items()
    }


def thresholds() -> dict[str, list[str]]:
    """The thresholds for k6."""
    held = {"errors": [f"rate<{MAX_ERRORS}"]}
    for name, kind in KINDS.items():
        metric = "grpc_req_duration" if name.endswith("grpc") else "http_req_duration"
        held[f"{metric}{{scenario:{name}}}"] = [f"p(95)<{kind.p95}", f"p(99)<{kind.p99}"]
    return held


def _a_minute(a_second: float) -> int:
    return max(1, round(a_second * 60))
