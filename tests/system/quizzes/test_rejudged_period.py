"""A quiz that was played in a period which is closed, judged again: the period changes by the decision to reseal it alone."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import aiohttp
import jwt
import pytest
from topten.quiz.v1 import quiz_pb2

from services.boards.proofs.proof import CheckedProof, check_proof
from services.cli.identity.accounts import grant_role
from services.cli.quizzes.quiz_rejudge import rejudge_quiz
from services.cli.system.client import GraphqlClient, GraphqlError
from tests.deadline import eventually
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import PASSWORD, Player, endpoints, register
from tests.servers import RunningStack, assert_verified, running_stack, unique
from tests.system.boards.test_boards_as_data import put

PROOF = """query ($board: BoardInput!, $user: ID!) {
  proof(board: $board, userId: $user) { board userId rank score salt digest path head }
}"""
REJUDGE = """mutation ($quiz: ID!, $dry: Boolean!) { rejudgeQuiz(quizId: $quiz, dryRun: $dry, reason: "a wrong key") {
  version actions changed points players { userId before after } closedPeriodsUnchanged
} }"""
RESEAL = """mutation ($input: ResealPeriodInput!) { resealPeriod(input: $input) {
  board changed changes { userId rankBefore rankAfter scoreBefore scoreAfter }
} }"""
CHANGES = "{ scoreHistory { edges { node { kind delta } } } notices { notices { pointsAfter } } }"
# What a board answers between the end of its period and its signed head.
NOT_YET = {"INVALID_ARGUMENT", "BOARD_NOT_FOUND", "UNAVAILABLE"}


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    """A system that closes a period as soon as it is over."""
    with running_stack({"TOPTEN_SCORE_CLOSE_AFTER": "0", "TOPTEN_SCORE_CLOSE_INTERVAL": "200ms"}) as running:
        yield running


async def ask(player: Player, document: str, **variables: Any) -> Any:
    return await player.client.execute(document, variables, player.access_token)


async def with_role(client: GraphqlClient, stack: RunningStack, role: str) -> Player:
    player = await register(client)
    await grant_role(endpoints(stack), player.username, role)
    player.access_token = await client.login(player.username, PASSWORD)
    return player


async def scores(player: Player, board: dict[str, Any]) -> dict[str, int]:
    return {entry["userId"]: entry["score"] for entry in await player.top(board)}


async def published_keys(stack: RunningStack) -> dict[str, jwt.PyJWK]:
    async with aiohttp.ClientSession() as session, session.get(f"{stack.http}/.well-known/jwks.json") as response:
        return {key["kid"]: jwt.PyJWK.from_dict(key) for key in (await response.json())["keys"]}


async def test_a_corrected_key_changes_a_closed_period_only_by_a_reseal_and_its_proofs_tell(
    stack: RunningStack,
) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        wrong, right = await register(client), await register(client)
        admin, moderator = [await with_role(client, stack, role) for role in ("admin", "moderator")]
        keys = await published_keys(stack)
        definition = quiz_definition(unique("rejudged-"), points=10, counting=quiz_pb2.COUNTING_BEST)
        quiz_id = definition.quiz_id
        await import_quiz(endpoints(stack), definition)
        await wrong.submit(quiz_id, [("q1", "a"), ("q2", "a")])
        await right.submit(quiz_id, [("q1", "b"), ("q2", "a")])
        both = {wrong.user_id: 20, right.user_id: 10}
        live, closed = {"kind": "QUIZ", "quizId": quiz_id}, {"kind": "CUSTOM", "name": unique("closed-")[:32]}

        async def is_counted() -> bool:
            return await scores(wrong, live) == both

        await eventually(is_counted, "both scores")
        # Defined afterwards, so that both answers are in its period on however slow a machine.
        end = (datetime.now(UTC) + timedelta(seconds=1)).replace(microsecond=0)
        period = f"range:{(end - timedelta(hours=1)).isoformat()}/{end.isoformat()}"
        await put(
            client, admin.access_token, name=closed["name"], title="Over", sources=[f"quiz:{quiz_id}"], period=period
        )

        async def proofs() -> dict[str, CheckedProof]:
            try:
                told = [(await ask(wrong, PROOF, board=closed, user=user_id))["proof"] for user_id in both]
            except GraphqlError as error:
                assert error.reason in NOT_YET, error
                return {}
            return {proof["userId"]: check_proof(proof, keys) for proof in told}

        before = await eventually(proofs, "proofs of both places")
        places = {user_id: (proof.rank, proof.score) for user_id, proof in before.items()}
        assert places == {wrong.user_id: (1, 20), right.user_id: (2, 10)}

        definition.questions[0].correct_option = "b"
        await import_quiz(endpoints(stack), definition)
        untouched = await asyncio.gather(*(ask(player, CHANGES) for player in (wrong, right)))
        would = (await ask(admin, REJUDGE, quiz=quiz_id, dry=True))["rejudgeQuiz"]
        assert [would[each] for each in ("version", "actions", "changed", "points")] == [2, 2, 2, 0]
        assert {(each["userId"], each["before"], each["after"]) for each in would["players"]} == {
            (wrong.user_id, 20, 10),
            (right.user_id, 10, 20),
        }
        assert would["closedPeriodsUnchanged"] == [f"custom:{closed['name']}"]
        assert (await rejudge_quiz(endpoints(stack), quiz_id, "", dry_run=True)).closed == [f"custom:{closed['name']}"]
        # A change that is made now is counted after whatever a dry run might have sent.
        await admin.submit(quiz_id, [("q2", "a")])
        await eventually(partial(has_entries, admin, live, 3), "a later action is counted")
        assert await scores(wrong, live) == both | {admin.user_id: 10}, "a dry run changes nothing"
        assert [await ask(player, CHANGES) for player in (wrong, right)] == untouched
        assert await proofs() == before

        did = (await ask(admin, REJUDGE, quiz=quiz_id, dry=False))["rejudgeQuiz"]
        assert (did["changed"], did["points"]) == (2, 0)
        assert did["closedPeriodsUnchanged"] == would["closedPeriodsUnchanged"]
        corrected = {wrong.user_id: 10, right.user_id: 20}

        async def is_corrected() -> bool:
            return await scores(wrong, live) == corrected | {admin.user_id: 10}

        await eventually(is_corrected, "the scores by the right key")
        for player, delta in ((wrong, -10), (right, 10)):
            changes = await ask(player, CHANGES)
            kinds = [edge["node"] for edge in changes["scoreHistory"]["edges"]]
            assert kinds.count({"kind": "ACTION_REJUDGED", "delta": delta}) == 1
            assert [notice["pointsAfter"] for notice in changes["notices"]["notices"]] == [corrected[player.user_id]]
        assert await scores(wrong, closed) == both, "nobody has decided about the closed period"
        assert await proofs() == before

        decision = {"board": closed, "reason": "The key of the first question was wrong."}
        (resealed,) = (await ask(moderator, RESEAL, input=decision))["resealPeriod"]
        assert (resealed["board"], resealed["changed"]) == (f"custom:{closed['name']}", 2)
        assert {tuple(change.values()) for change in resealed["changes"]} == {
            (wrong.user_id, 1, 2, 20, 10),
            (right.user_id, 2, 1, 10, 20),
        }
        assert await scores(wrong, closed) == corrected

        async def proofs_of_the_reseal() -> dict[str, CheckedProof]:
            now = await proofs()
            return now if now and all(proof.signed.head.generation == 2 for proof in now.values()) else {}

        after = await eventually(proofs_of_the_reseal, "proofs of the places by the right key")
        places = {user_id: (proof.rank, proof.score) for user_id, proof in after.items()}
        assert places == {right.user_id: (1, 20), wrong.user_id: (2, 10)}
        for earlier, later in itertools.product(before.values(), after.values()):
            assert later.signed.head.supersedes == earlier.signed.head.root
        assert (await ask(moderator, RESEAL, input=decision))["resealPeriod"] == []
        again = (await ask(admin, REJUDGE, quiz=quiz_id, dry=False))["rejudgeQuiz"]
        assert (again["changed"], again["closedPeriodsUnchanged"]) == (0, [])
    await assert_verified(stack)


async def has_entries(player: Player, board: dict[str, Any], count: int) -> bool:
    return len(await scores(player, board)) == count
