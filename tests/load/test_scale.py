"""The arithmetic of docs/scale.md: more of anything raises its own cost and no other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.load.scale import Costs, World, needs, tables

COSTS = Costs(
    cpu_ms=dict.fromkeys(("edge", "identity", "quiz", "score", "leaderboard", "mongo", "nats", "redis"), 2.0),
    stored_bytes=2000,
    delivery_us=7,
    stream_kb=12,
    member_bytes=90,
)


def test_twice_the_players_need_twice_the_cores_and_memory_but_for_streams() -> None:
    one, two = needs(COSTS, World()), needs(COSTS, World(players=World.players * 2))
    assert two.redis_gib == pytest.approx(2 * one.redis_gib)
    assert two.disk_gib == pytest.approx(2 * one.disk_gib)
    for name, cores in one.cores.items():
        assert two.cores[name] == pytest.approx(cores if name == "edge, streams" else 2 * cores)


def test_twice_the_streams_need_twice_what_streams_need() -> None:
    one, two = needs(COSTS, World()), needs(COSTS, World(streams=World.streams * 2))
    assert two.cores["edge, streams"] == pytest.approx(2 * one.cores["edge, streams"])
    assert two.stream_gib == pytest.approx(2 * one.stream_gib)
    assert two.redis_gib == one.redis_gib


def test_a_cheaper_action_needs_fewer_cores_and_less_money() -> None:
    cheaper = replace(COSTS, cpu_ms={**COSTS.cpu_ms, "edge": 1.0})
    one, less = needs(COSTS, World()), needs(cheaper, World())
    assert less.cores["edge"] == pytest.approx(one.cores["edge"] / 2)
    assert less.month < one.month


def test_the_tables_are_markdown_of_one_width() -> None:
    lines = [line for line in tables(COSTS, World()) if line]
    assert all(line.startswith("|") and line.endswith("|") for line in lines)
    assert "| streams | 1,000,000 |" in lines
