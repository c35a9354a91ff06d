"""Capacity planning from the measured cost of an action, a stream and a player: the tables of docs/scale.md.

    python -m tests.load.scale --report .load/peak.json --delivery-us 7 --stream-kb 12

The costs are handed in, as they were measured; the assumptions about players stand here, each with its name.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from tests.load.simulation import Component, Moment, provisioned, spike, tenfold

GIB: Final = 2**30
SERVICES: Final = ("edge", "identity", "quiz", "score", "leaderboard")
STORES: Final = ("mongo", "nats", "redis")


@dataclass(frozen=True)
class Costs:
    """The measured CPU time per action in ms by process, including all requests that come with it."""

    cpu_ms: Mapping[str, float]
    stored_bytes: float
    delivery_us: float
    stream_kb: float
    member_bytes: float


@dataclass(frozen=True)
class World:
    """Assumptions about players and prices; each is an option of the command."""

    players: float = 100_000_000
    streams: float = 1_000_000
    # A tenth of the players act on a day, five times each; the busiest hour has five times the mean.
    active_share: float = 0.1
    actions_a_day: float = 5
    busiest: float = 5
    # Frames per second on a board that always moves: one per tick, with a tick of 1 s for so many screens.
    frames: float = 1
    # The boards of an average player: all time, month, week, country and a few quizzes.
    boards: float = 6
    years: float = 2
    utilization: float = 0.6
    member_shard_gib: float = 16
    store_shard_gib: float = 2048
    copies: float = 3
    core_hour: float = 0.04
    gib_hour: float = 0.005
    disk_gib_month: float = 0.1

    @property
    def actions(self) -> float:
        """Actions per second in the busiest hour."""
        return self.players * self.active_share * self.actions_a_day / 86_400 * self.busiest


@dataclass(frozen=True)
class Needs:
    """The required resources, with replicas and headroom."""

    cores: Mapping[str, float]
    redis_gib: float
    redis_shards: int
    stream_gib: float
    disk_gib: float
    mongo_shards: int
    month: float


def needs(costs: Costs, world: World) -> Needs:
    """Calculate the requirements."""
    busy = {name: world.actions * ms / 1000 / world.utilization for name, ms in costs.cpu_ms.items()}
    cores = {name: busy[name] for name in SERVICES} | {
        "edge, streams": world.streams * world.frames * costs.delivery_us / 1e6 / world.utilization,
        # MongoDB and NATS write every replica; a Redis replica costs as much as a write.
        **{name: busy[name] * world.copies for name in STORES},
    }
    members = world.players * world.boards * costs.member_bytes / GIB
    disk = world.players * world.active_share * world.actions_a_day * 365 * world.years * costs.stored_bytes / GIB
    streams = world.streams * costs.stream_kb * 1024 / GIB
    memory = members * 2 + streams + 2 * sum(cores.values())
    month = sum(cores.values()) * world.core_hour * 730 + memory * world.gib_hour * 730
    return Needs(
        cores=cores,
        redis_gib=members,
        redis_shards=math.ceil(members / world.member_shard_gib),
        stream_gib=streams,
        disk_gib=disk * world.copies,
        mongo_shards=math.ceil(disk / world.store_shard_gib),
        month=month + disk * world.copies * world.disk_gib_month,
    )


def tables(costs: Costs, world: World) -> Iterator[str]:
    """Return Markdown: costs, assumptions, requirements, and the spike."""
    found = needs(costs, world)
    yield from _table(
        ("measured", "figure"),
        [
            *((f"CPU an action, {name}", f"{ms:.2f} ms") for name, ms in costs.cpu_ms.items()),
            ("bytes an action in MongoDB, indexes included", f"{costs.stored_bytes:,.0f}"),
            ("CPU a delivery of a frame", f"{costs.delivery_us:.1f} µs"),
            ("memory an idle stream", f"{costs.stream_kb:.1f} KB"),
            ("Redis bytes a player and board", f"{costs.member_bytes:.0f}"),
        ],
    )
    yield from _table(
        ("assumed", "figure"), [(f.name.replace("_", " "), f"{getattr(world, f.name):,}") for f in fields(world)]
    )
    yield from _table(
        ("needed in the busiest hour", "figure"),
        [
            ("actions a second", f"{world.actions:,.0f}"),
            *((f"cores, {name}", f"{cores:,.0f}") for name, cores in found.cores.items()),
            ("cores in all", f"{sum(found.cores.values()):,.0f}"),
            ("memory of the boards, one copy", f"{found.redis_gib:,.0f} GiB"),
            ("Redis shards", f"{found.redis_shards}"),
            ("memory of the streams", f"{found.stream_gib:,.0f} GiB"),
            (f"MongoDB, {world.years:g} years and all copies", f"{found.disk_gib:,.0f} GiB"),
            ("MongoDB shards", f"{found.mongo_shards}"),
            ("money a month, at the assumed prices", f"{found.month:,.0f}"),
        ],
    )
    yield from _spike(costs, world)


def _spike(costs: Costs, world: World) -> Iterator[str]:
    """Simulate ten times the busiest hour for three minutes, with the pods of that hour and with five times as many."""
    parts = [Component(name, costs.cpu_ms[name], pods=1, most=100_000) for name in ("edge", "quiz", "score")]
    rows = []
    for title, ahead in (("pods of the busiest hour", 1.0), ("pods of five times that", 5.0)):
        edge, quiz, score = (provisioned(part, world.actions * ahead) for part in parts)
        moments = list(spike(tenfold(world.actions), 600, edge=edge, quiz=quiz, score=score))
        rows.append((title, *_told(moments)))
    yield from _table(
        (
            "a tenfold spike of three minutes",
            "refused",
            "seconds with refusals",
            "most waiting",
            "boards late at most",
            "pods at most",
        ),
        rows,
    )


def _told(moments: Sequence[Moment]) -> tuple[str, ...]:
    offered = sum(moment.offered for moment in moments)
    refused = sum(moment.refused for moment in moments)
    pods = max(moment.edge + moment.quiz + moment.score for moment in moments)
    return (
        f"{refused / offered:.0%} of what was offered",
        f"{sum(moment.refused > 0 for moment in moments)}",
        f"{max(moment.waiting for moment in moments):,.0f} events",
        f"{max(moment.late for moment in moments):.1f} s",
        f"{pods:,}",
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def main(arguments: list[str]) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, required=True, help="JSON of a load run: CPU and bytes an action")
    parser.add_argument("--delivery-us", type=float, required=True, help="server CPU of one frame to one stream, in µs")
    parser.add_argument("--stream-kb", type=float, required=True, help="memory of an idle stream, in KB")
    parser.add_argument("--member-bytes", type=float, required=True, help="Redis bytes of one player on one board")
    for field in fields(World):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float, default=field.default)
    chosen = vars(parser.parse_args(arguments))
    measured = json.loads(chosen.pop("report").read_text())
    costs = Costs(
        cpu_ms=measured["cpu_ms"],
        stored_bytes=measured["stored_bytes"],
        **{name: chosen.pop(name) for name in ("delivery_us", "stream_kb", "member_bytes")},
    )
    print("\n".join(tables(costs, World(**chosen))))


if __name__ == "__main__":
    main(sys.argv[1:])
