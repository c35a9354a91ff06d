"""The simulation of a spike is consistent, and more pods improve it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.load.simulation import Component, Moment, provisioned, spike, tenfold

NORMAL = 1000.0
EDGE, QUIZ, SCORE = (
    provisioned(Component(name, cpu_ms, pods=1, most=400), NORMAL)
    for name, cpu_ms in (("edge", 5.0), ("quiz", 3.0), ("score", 0.2))
)


def run(edge: Component = EDGE, quiz: Component = QUIZ, score: Component = SCORE) -> list[Moment]:
    return list(spike(tenfold(NORMAL), 600, edge=edge, quiz=quiz, score=score))


def test_normal_traffic_is_all_accepted_and_nothing_waits() -> None:
    calm = list(spike(lambda _: NORMAL, 120, edge=EDGE, quiz=QUIZ, score=SCORE))
    assert all(moment.accepted == NORMAL and not moment.refused and not moment.waiting for moment in calm)
    assert {moment.edge for moment in calm} == {EDGE.pods}


def test_what_is_accepted_is_counted_or_waits() -> None:
    # The score component does not scale, so that events wait.
    slow = replace(SCORE, cpu_ms=0.5, pods=2, most=2)
    moments = run(score=slow)
    assert max(moment.waiting for moment in moments) > 0
    counted = [
        accepted - (after - before)
        for before, after, accepted in zip(
            [0.0, *(m.waiting for m in moments)],
            [m.waiting for m in moments],
            [m.accepted for m in moments],
            strict=False,
        )
    ]
    assert sum(counted) + moments[-1].waiting == pytest.approx(sum(moment.accepted for moment in moments))
    assert all(0 <= each <= slow.pods * slow.capacity + 1e-6 for each in counted)


def test_pods_follow_the_spike_and_then_nothing_is_refused() -> None:
    moments = run()
    assert moments[100].refused > 0
    assert moments[-1].edge > EDGE.pods
    assert all(moment.refused == 0 for moment in moments[230:])


def test_who_has_room_beforehand_refuses_less() -> None:
    refused = sum(moment.refused for moment in run())
    roomy = run(edge=provisioned(EDGE, 5 * NORMAL), quiz=provisioned(QUIZ, 5 * NORMAL))
    assert sum(moment.refused for moment in roomy) < refused / 2


def test_no_more_pods_than_are_allowed() -> None:
    assert max(moment.edge for moment in run(edge=replace(EDGE, most=EDGE.pods + 1))) == EDGE.pods + 1
