"""Judging again: what counts is what the corrected quiz would have given, once, and nothing changes in a dry run."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from topten.quiz.v1 import quiz_events_pb2, quiz_pb2

from services.quiz.amendments.places import Places, PlayerChange
from services.quiz.amendments.rejudging import GROUP, Progress, Rejudging
from services.quiz.questions.answers import selected
from services.quiz.quizzes.delivery_store import DeliveryStore
from services.quiz.quizzes.quiz import from_definition, judged_again_by
from services.quiz.quizzes.scoring import mark
from services.quiz.submissions.store import History, SubmissionStore
from services.runtime.clock import utc_now
from services.streams import ACTION_REJUDGED
from tests.factories import quiz_definition
from tests.servers import unique
from tests.unit.quiz.conftest import Open, Replica
from tests.unit.quiz.test_versions import act, put, submitted, swapped


def corrected(definition: quiz_pb2.QuizDefinition) -> quiz_pb2.QuizDefinition:
    """Return the quiz with the other option right in its first question."""
    changed = quiz_pb2.QuizDefinition()
    changed.CopyFrom(definition)
    changed.questions[0].correct_option = "b"
    return changed


class Interrupted(SubmissionStore):
    """The records, where one of the players who are read first does something before anything is made of it."""

    def __init__(self, database: Any, meanwhile: Callable[[str], Awaitable[object]]) -> None:
        super().__init__(database)
        self._meanwhile = meanwhile
        self.read: list[list[str]] = []

    async def histories(self, user_ids: Sequence[str], subject: str) -> dict[str, History]:
        found = await super().histories(user_ids, subject)
        self.read.append(list(user_ids))
        if len(self.read) == 1:
            await self._meanwhile(user_ids[0])
        return found


async def rejudged(replica: Replica, quiz_id: str, *, dry_run: bool = False) -> tuple[Progress, list[PlayerChange]]:
    told = [each async for each in replica.rejudging.rejudge(quiz_id, "a wrong key", actor="ada", dry_run=dry_run)]
    return told[-1], sorted(player for each in told for player in each.players)


async def events(replica: Replica, quiz_id: str) -> list[dict[str, Any]]:
    query = {"quiz_id": quiz_id, "kind": ACTION_REJUDGED}
    found: list[dict[str, Any]] = await replica.database["submissions"].find(query).sort("_id").to_list()
    return found


async def test_a_mended_key_changes_what_counted_and_says_so_before(open_replica: Open) -> None:
    replica = await open_replica()
    definition = quiz_definition(unique("judged-"))
    quiz_id = definition.quiz_id
    await put(replica, definition)
    await submitted(replica, act(quiz_id, "a"))
    right = act(quiz_id, "b", user_id="ben")
    await submitted(replica, right)
    await put(replica, corrected(definition))
    expected = [PlayerChange("ada", 20, 10), PlayerChange("ben", 0, 10)]
    would, players = await rejudged(replica, quiz_id, dry_run=True)
    assert (would.actions, would.changed, would.version) == (2, 2, 2)
    # Ada led before Ben; then they would share the first place.
    assert players == [PlayerChange("ada", 20, 10, 1, 1), PlayerChange("ben", 0, 10, 2, 1)]
    assert await events(replica, quiz_id) == []

    did, players = await rejudged(replica, quiz_id)
    assert (did.actions, did.changed, players) == (2, 2, expected)
    recorded = await events(replica, quiz_id)
    assert sorted((each["user_id"], each["delta"], each["counted"]) for each in recorded) == [
        ("ada", -10, 10),
        ("ben", 10, 10),
    ]
    event = quiz_events_pb2.ActionRejudgedEvent.FromString(recorded[1]["unpublished"]["event"])
    assert (event.event_type, event.payload.quiz_version, event.payload.reason) == (ACTION_REJUDGED, 2, "a wrong key")
    again, players = await rejudged(replica, quiz_id)
    assert (again.actions, again.changed, players) == (2, 0, [])
    assert len(await events(replica, quiz_id)) == 2
    assert (await replica.reviews.review("ben", right.action_id)).marks.points == 10


@pytest.mark.parametrize("dry_run", [True, False])
async def test_what_is_held_does_not_grow_with_the_quiz(open_replica: Open, *, dry_run: bool) -> None:
    replica = await open_replica()
    definition = quiz_definition(unique("judged-"), max_attempts=2)
    quiz_id = definition.quiz_id
    await put(replica, definition)
    players = [f"player-{number}" for number in range(2 * GROUP + 1)]
    for _ in range(2):
        await replica.submit(*[act(quiz_id, "a", user_id=user_id) for user_id in players])
    await put(replica, corrected(definition))
    told: list[PlayerChange] = []
    async for each in replica.rejudging.rejudge(quiz_id, "a wrong key", actor="ada", dry_run=dry_run):
        if not dry_run:
            # Actions that were looked at are recorded or of the current page, or of a player who may have more of them.
            held = each.actions - len(await events(replica, quiz_id))
            assert 0 <= held <= GROUP + 2
        assert len(each.players) <= GROUP
        told += each.players
    assert sorted(each.user_id for each in told) == sorted(players)
    assert (each.actions, each.changed) == (2 * len(players), 2 * len(players))


async def test_what_a_player_did_is_read_once_unless_they_do_more_meanwhile(open_replica: Open) -> None:
    replica = await open_replica()
    definition = quiz_definition(unique("judged-"))
    quiz_id = definition.quiz_id
    await put(replica, definition)
    players = [f"player-{number}" for number in range(GROUP + 1)]
    await replica.submit(*[act(quiz_id, "a", user_id=user_id) for user_id in players])
    await put(replica, corrected(definition))
    store = Interrupted(replica.database, lambda user_id: submitted(replica, act(quiz_id, "b", user_id=user_id)))
    await store.prepare()
    deliveries = DeliveryStore(replica.database)
    rejudging = Rejudging(store, replica.cache, deliveries, replica.outbox, now=utc_now)
    told = [each async for each in rejudging.rejudge(quiz_id, "a wrong key", actor="ada", dry_run=False)]
    assert told[-1].changed == len(players)
    interrupted = store.read[0][0]
    assert Counter(user_id for each in store.read for user_id in each) == Counter([*players, interrupted])
    records = await replica.database["submissions"].find({"user_id": interrupted}).sort("attempt").to_list()
    recorded = [(each["attempt"], each["delta"], each["counted"]) for each in records]
    assert recorded == [(1, 20, 20), (2, 0, 20), (3, -10, 10)]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=30))
def test_places_are_those_of_a_plain_sort(players: list[tuple[int, int]]) -> None:
    places = Places(Counter(before for before, _ in players))
    changes = [PlayerChange(str(index), *points) for index, points in enumerate(players)]
    places.change(changes)
    assert places.told(changes) == [
        each._replace(
            place_before=1 + sum(before > each.before for before, _ in players),
            place_after=1 + sum(after > each.after for _, after in players),
        )
        for each in changes
    ]


@pytest.mark.parametrize("counting", [value for value in quiz_pb2.Counting.values() if value])
async def test_attempts_count_as_if_the_mended_quiz_had_judged_them(
    open_replica: Open, counting: quiz_pb2.Counting.ValueType
) -> None:
    replica, dice = await open_replica(), random.Random(counting)
    definition, expected = (quiz_definition(unique("judged-"), questions=3, counting=counting) for _ in range(2))
    fixed, expected = corrected(definition), corrected(expected)
    await put(replica, definition)
    await put(replica, expected)
    for _ in range(6):
        answers = tuple(selected(f"q{number}", dice.choice("ab")) for number in (1, 2, 3))
        for quiz_id in (definition.quiz_id, expected.quiz_id):
            await submitted(replica, replace(act(quiz_id), answers=answers))
    await put(replica, fixed)
    await rejudged(replica, definition.quiz_id)
    counted = []
    for quiz_id in (definition.quiz_id, expected.quiz_id):
        last = await replica.database["submissions"].find_one({"quiz_id": quiz_id}, sort=[("attempt", -1)])
        deltas = [each["delta"] async for each in replica.database["submissions"].find({"quiz_id": quiz_id})]
        assert sum(deltas) == last["counted"]
        counted.append((last["counted"], last["used"], last["valid"], last["points_sum"]))
    assert counted[0] == counted[1]


async def test_answers_to_other_options_keep_their_points(open_replica: Open) -> None:
    replica = await open_replica()
    definition = quiz_definition(unique("judged-"))
    await put(replica, definition)
    await submitted(replica, act(definition.quiz_id, "a"))
    await put(replica, swapped(definition))
    result, players = await rejudged(replica, definition.quiz_id)
    assert (result.actions, result.changed, players) == (1, 0, [])


def test_a_question_is_judged_again_only_in_the_form_that_was_seen() -> None:
    seen = from_definition(quiz_definition(questions=3), 1)
    definition = quiz_definition(questions=2, points=7)
    definition.questions[0].correct_option = "b"
    definition.questions[0].question.text = "The same, better said?"
    definition.questions[1].question.options[0].text = "Something else"
    again = judged_again_by(from_definition(definition, 2), seen)
    answers = [selected("q1", "b"), selected("q2", "a"), selected("q3", "a")]
    assert (again.version, mark(again, answers).points) == (2, 7 + 10 + 10)
