"""Players are told of changes of their score that others made, once, on all of their devices."""

from __future__ import annotations

from typing import Any

import pytest
from topten.quiz.v1 import quiz_pb2

from services.cli.quizzes.quiz_rejudge import rejudge_quiz
from services.cli.system.client import GraphqlClient, GraphqlError
from tests.deadline import eventually
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import PASSWORD, Player, endpoints, register
from tests.servers import RunningStack, unique

NOTICES = """{ notices { through notices {
  revision kind quizId quizTitle actionTypeId pointsBefore pointsAfter reason recordedAt } } }"""
SEEN = "mutation ($through: Int!) { markNoticesSeen(through: $through) }"
VOID = "mutation ($input: VoidActionInput!) { voidAction(input: $input) { scoreDelta } }"
ADJUST = "mutation ($input: AdjustScoreInput!) { adjustScore(input: $input) { newScore } }"
HISTORY = "{ scoreHistory { edges { node { kind } } } }"
Notice = dict[str, Any]


async def unseen(player: Player, token: str = "") -> tuple[list[Notice], int]:
    """Return the notices, and up to which row they go."""
    found = (await player.client.execute(NOTICES, {}, token or player.access_token))["notices"]
    return found["notices"], found["through"]


async def until_told(player: Player, kind: str) -> Notice:
    """Wait for a notice of this kind to be the newest one, and return it."""

    async def told() -> Notice | None:
        notices, _ = await unseen(player)
        return notices[0] if notices and notices[0]["kind"] == kind else None

    found = await eventually(told, f"a notice of {kind}")
    assert found is not None
    return found


async def mark_seen(player: Player, through: int, token: str = "") -> int:
    data = await player.client.execute(SEEN, {"through": through}, token or player.access_token)
    recorded: int = data["markNoticesSeen"]
    return recorded


async def moderator_token(stack: RunningStack, client: GraphqlClient) -> str:
    account = stack.endpoints["moderator"]
    return await client.login(account["username"], account["password"])


async def test_a_quiz_that_is_judged_again_tells_those_whose_score_changed_once(
    stack: RunningStack, client: GraphqlClient
) -> None:
    quiz_id = unique("told-")
    definition = quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM)
    await import_quiz(endpoints(stack), definition)
    wrong, same = await register(client), await register(client)
    for _ in range(2):
        await wrong.submit(quiz_id, [("q1", "b"), ("q2", "a")])
    await same.submit(quiz_id, [("q2", "a")])
    assert await unseen(wrong) == ([], 0), "the player's own actions are none"
    definition.questions[0].correct_option = "b"
    await import_quiz(endpoints(stack), definition)
    await rejudge_quiz(endpoints(stack), quiz_id, "a wrong key", dry_run=False)

    async def are_both_counted() -> bool:
        notices, _ = await unseen(wrong)
        return bool(notices) and notices[0]["pointsAfter"] == 40

    await eventually(are_both_counted, "a notice of both attempts")
    elsewhere = await client.login(wrong.username, PASSWORD)
    on_one, on_other = await unseen(wrong), await unseen(wrong, elsewhere)
    assert on_one == on_other
    (notice,), through = on_one
    assert notice.pop("recordedAt")
    assert notice == {
        "revision": through, "kind": "ACTION_REJUDGED", "quizId": quiz_id, "quizTitle": f"About {quiz_id}",
        "actionTypeId": None, "pointsBefore": 20, "pointsAfter": 40, "reason": "a wrong key",
    }  # fmt: skip
    assert await mark_seen(wrong, through, elsewhere) == through
    assert await unseen(wrong) == await unseen(wrong, elsewhere) == ([], through)
    assert await unseen(same) == ([], 0), "their points are the same"


async def test_voids_and_adjustments_are_told_and_what_is_seen_never_goes_back(
    stack: RunningStack, client: GraphqlClient
) -> None:
    quiz_id, moderator = unique("told-"), await moderator_token(stack, client)
    await import_quiz(endpoints(stack), quiz_definition(quiz_id))
    player = await register(client)
    assert await mark_seen(player, 9) == 0, "there is nothing yet"
    action = await player.submit(quiz_id, [("q1", "a"), ("q2", "a")])
    void = {"userId": player.user_id, "actionId": action["actionId"], "reason": "a shared account"}
    await client.execute(VOID, {"input": void}, moderator)
    voided = await until_told(player, "ACTION_VOIDED")
    assert (voided["quizId"], voided["pointsBefore"], voided["pointsAfter"]) == (quiz_id, 20, 0)
    assert voided["reason"] == "a shared account"
    # A player who claims to have seen what is to come has seen what there is.
    assert await mark_seen(player, 2**31 - 1) == voided["revision"]
    adjust = {"userId": player.user_id, "delta": 7, "reason": "for patience"}
    await client.execute(ADJUST, {"input": adjust}, moderator)
    adjusted = await until_told(player, "SCORE_ADJUSTED")
    assert (adjusted["quizId"], adjusted["quizTitle"]) == (None, None)
    assert (adjusted["pointsBefore"], adjusted["pointsAfter"], adjusted["reason"]) == (0, 7, "for patience")
    assert (await unseen(player))[0] == [adjusted], "the void is seen"
    for through in (adjusted["revision"], 1, adjusted["revision"]):
        assert await mark_seen(player, through) == adjusted["revision"]
    assert await unseen(player) == ([], adjusted["revision"])
    history = (await client.execute(HISTORY, {}, player.access_token))["scoreHistory"]
    kinds = [edge["node"]["kind"] for edge in history["edges"]]
    assert kinds == ["SCORE_ADJUSTED", "ACTION_VOIDED", "QUIZ_COMPLETED"], "the history keeps what was told"
    with pytest.raises(GraphqlError) as refused:
        await mark_seen(player, -1)
    assert (refused.value.reason, "through" in str(refused.value)) == ("INVALID_ARGUMENT", True)
