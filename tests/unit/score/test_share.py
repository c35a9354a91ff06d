"""How workers share partitions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.score.layout import durables, former
from services.score.share import share


@given(st.sets(st.text("abcdef", min_size=1), min_size=1, max_size=12), st.integers(1, 16))
def test_every_partition_is_somebodys_and_nobody_is_idle(workers: set[str], partitions: int) -> None:
    shares = [share(worker, workers, partitions) for worker in workers]
    assert {partition for mine in shares for partition in mine} == set(range(partitions))
    assert all(shares)
    if len(workers) <= partitions:
        assert sum(map(len, shares)) == partitions, "and nobody meets another"
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_worker_that_is_not_listed_yet_has_a_share() -> None:
    assert share("b", ["a"], 4) == [1, 3]


def test_durables_have_subjects_of_their_own_and_only_partitions_that_are_no_more_are_emptied() -> None:
    assert {found.subject for found in durables(2).values()} == {"quiz.events.0.*", "quiz.events.1.*"}
    assert list(durables(0)) == ["score"]
    assert {found.subject for found in durables(0).values()} == {"quiz.events.*"}, "a token less than with a partition"
    assert [found.name for found in former(["score-0", "score-3", "score", "other"], 2)] == ["score", "score-3"]
    assert [found.name for found in former(["score-0", "score"], 0)] == ["score-0"]
