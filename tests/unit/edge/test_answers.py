"""Which answers are the same for everybody, and for how long."""

from __future__ import annotations

import pytest
from graphql import get_operation_ast, parse
from topten.leaderboard.v1.leaderboard_pb2 import Frame

from edge.graphql.answers import MAX_BYTES, MAX_KEPT, Answers, Kept, Read, is_for_everybody, key_of

HEAD = "{ getLeaderboard { rank username } }"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (HEAD, True),
        ("query Q($n: Int!) { a: getLeaderboard(limit: $n) { rank } b: getLeaderboard { score } }", True),
        ("{ getLeaderboard { rank user { username } } }", False),
        ("{ getLeaderboard { rank } me { username } }", False),
        ("{ getLeaderboard { ...F } } fragment F on LeaderboardEntry { rank }", False),
        ("{ ... on Query { getLeaderboard { rank } } }", False),
        ("query ($x: Boolean!) { getLeaderboard { rank @include(if: $x) } }", False),
        ("mutation { logout }", False),
    ],
)
def test_heads_of_boards_alone_are_for_everybody(document: str, expected: bool) -> None:
    parsed = parse(document)
    node = get_operation_ast(parsed)
    assert node is not None
    assert is_for_everybody(parsed, node) is expected


def test_an_answer_is_good_while_its_frames_are_held() -> None:
    held = {"all": Frame(board="all", version=1)}
    answers = Answers(lambda board, limit: held.get(board) if limit <= 3 else None)
    key = key_of(HEAD, None, {"b": 1, "a": 2})
    assert key is not None
    kept = Kept(b"{}", 1, [Read("all", 2, held["all"])])
    answers.put(key, kept)
    assert answers.get(key) is kept
    assert answers.get(key_of(HEAD, None, {"a": 2, "b": 1}) or key) is kept, "variables have no order"
    assert answers.get((HEAD, "Q", key[2])) is None
    held["all"] = Frame(board="all", version=1)
    assert answers.get(key) is None, "another frame, though it looks the same"


def test_no_more_is_kept_than_may_be() -> None:
    frame = Frame(board="all")
    answers = Answers(lambda _board, _limit: frame)
    kept = Kept(b"{}", 1, [Read("all", 2, frame)])
    for number in range(MAX_KEPT + 1):
        answers.put((HEAD, str(number), b"{}"), kept)
    assert answers.get((HEAD, "0", b"{}")) is None
    assert answers.get((HEAD, str(MAX_KEPT), b"{}")) is kept
    answers.put((HEAD, "large", b"{}"), kept._replace(body=b"x" * MAX_BYTES))
    assert answers.get((HEAD, "large", b"{}")) is None


def test_variables_that_are_nested_too_deep_have_no_key() -> None:
    deep: dict[str, object] = {}
    for _ in range(400):
        deep = {"x": deep}
    assert key_of(HEAD, None, deep) is None
