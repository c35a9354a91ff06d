"""Partitions are divided among workers, and durables follow the partitions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.score.ingest.durables import durables_of, outdated_durables
from services.score.ingest.partition_assignment import assign


@given(st.sets(st.text("abcdef", min_size=1), min_size=1, max_size=12), st.integers(1, 16))
def test_every_partition_is_assigned_and_no_worker_is_idle(workers: set[str], partitions: int) -> None:
    assignments = [assign(worker, workers, partitions) for worker in workers]
    assert {partition for assigned in assignments for partition in assigned} == set(range(partitions))
    assert all(assignments)
    if len(workers) <= partitions:
        assert sum(map(len, assignments)) == partitions, "no partition is assigned twice"
        assert max(map(len, assignments)) - min(map(len, assignments)) <= 1


def test_worker_that_has_not_reported_yet_has_partitions() -> None:
    assert assign("b", ["a"], 4) == [1, 3]


def test_durables_do_not_overlap_and_only_outdated_ones_are_drained() -> None:
    assert {durable.subject for durable in durables_of(2).values()} == {"quiz.events.0.*", "quiz.events.1.*"}
    assert list(durables_of(0)) == ["score"]
    assert {durable.subject for durable in durables_of(0).values()} == {"quiz.events.*"}, (
        "one token less than with partitions"
    )
    assert [durable.name for durable in outdated_durables(["score-0", "score-3", "score", "other"], 2)] == [
        "score",
        "score-3",
    ]
    assert [durable.name for durable in outdated_durables(["score-0", "score"], 0)] == ["score-0"]
