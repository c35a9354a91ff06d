"""Groups of actions on real stores: what each costs, and that a failure stays that of one action."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from topten.quiz.v1 import quiz_pb2

from services.quiz.questions.answers import selected
from services.quiz.submissions.action import Action
from services.runtime.clock import utc_now
from tests.factories import quiz_definition
from tests.servers import free_port, unique
from tests.unit.quiz.conftest import HOUR, Open, Replica


@dataclass
class Players:
    """Makes actions at one quiz."""

    quiz_id: str = field(default_factory=lambda: unique("quiz-"))

    def act(self, user_id: str, **changes: Any) -> Action:
        values: dict[str, Any] = {
            "user_id": user_id,
            "country": "VN",
            "action_id": str(uuid.uuid4()),
            "quiz_id": self.quiz_id,
            "answers": (selected("q1", "a"), selected("q2", "a")),
            "client_time": utc_now(),
            "client": quiz_pb2.Client(),
        }
        return Action(**values | changes)


async def quiz(replica: Replica, **policy: Any) -> Players:
    """Import a quiz of two questions."""
    players = Players()
    await replica.quizzes.put_quiz(
        quiz_definition(players.quiz_id, counting=quiz_pb2.COUNTING_SUM, **policy), utc_now()
    )
    return players


async def test_a_group_costs_one_insert_and_one_call_whatever_its_size(open_replica: Open) -> None:
    replica = await open_replica()
    players = await quiz(replica)
    await replica.submit(players.act("warm"))
    everybody = [f"player-{number}" for number in range(50)]
    cold = await replica.costs(*map(players.act, everybody))
    assert cold == {"find deliveries": 1, "aggregate 1": 1, "insert submissions": 1}
    replica.identity.calls = 0
    assert await replica.costs(*map(players.act, everybody)) == {"insert submissions": 1}
    assert replica.identity.calls == 1


async def test_a_replica_with_cold_tallies_reads_ahead_instead_of_being_refused(open_replica: Open) -> None:
    first, second = await open_replica(), await open_replica()
    players = await quiz(first)
    everybody = [f"player-{number}" for number in range(20)]
    await first.submit(*map(players.act, everybody[:15]))
    await first.submit(*map(players.act, everybody[:5]))
    assert await second.submit(*map(players.act, everybody)) == ["3"] * 5 + ["2"] * 10 + ["1"] * 5
    assert second.commands.counts["insert submissions"] == 1
    # The first replica's tallies are outdated now: the unique index refuses those, in one further round.
    first.commands.counts.clear()
    assert await first.submit(*map(players.act, everybody)) == ["4"] * 5 + ["3"] * 10 + ["2"] * 5
    assert first.commands.counts["insert submissions"] == 2


async def test_attempts_of_one_player_in_a_group_are_recorded_in_order(open_replica: Open) -> None:
    replica = await open_replica()
    players = await quiz(replica, max_attempts=3)
    repeated = players.act("ada")
    group = [
        repeated,
        players.act("ben"),
        players.act("ada", answers=(selected("q1", "a"),)),
        repeated,
        players.act("ada"),
        players.act("ada"),
        players.act("ben"),
    ]
    assert await replica.submit(*group) == ["1", "1", "2", "again", "3", "ATTEMPTS_EXHAUSTED", "2"]
    records = await replica.database["submissions"].find({"user_id": "ada"}).sort("attempt").to_list()
    assert [(each["attempt"], each["counted"]) for each in records] == [(1, 20), (2, 30), (3, 50)]


async def test_a_refused_action_harms_no_other_of_its_group(open_replica: Open) -> None:
    replica = await open_replica()
    players = await quiz(replica)
    replica.identity.blocked, replica.identity.erased = {"ben"}, {"cem"}
    recorded = players.act("ada")
    assert await replica.submit(recorded) == ["1"]
    group = [
        players.act("ben"),
        players.act("cem"),
        recorded,
        players.act("ada", action_id=recorded.action_id, answers=()),
        players.act("dua", quiz_id="no-such-quiz"),
        players.act("dua", answers=(selected("q9", "a"),)),
        players.act("dua", client_time=utc_now() - 2 * HOUR),
        players.act("dua", abandoned_at=0.0),
        players.act("dua"),
    ]
    assert await replica.submit(*group) == [
        "PLAYER_BLOCKED",
        "UNAUTHENTICATED",
        "again",
        "ACTION_ID_CONFLICT",
        "QUIZ_NOT_FOUND",
        "INVALID_ARGUMENT",
        "TIMESTAMP_OUT_OF_WINDOW",
        "UNAVAILABLE",
        "1",
    ]
    assert await replica.database["submissions"].count_documents({}) == 2


async def test_an_action_recorded_before_its_player_was_blocked_is_replayed(open_replica: Open) -> None:
    replica = await open_replica()
    players = await quiz(replica)
    recorded = players.act("ada")
    await replica.submit(recorded)
    replica.identity.blocked = {"ada"}
    assert await replica.submit(recorded, players.act("ada")) == ["again", "PLAYER_BLOCKED"]


async def test_a_record_that_the_store_refuses_fails_alone(open_replica: Open) -> None:
    replica = await open_replica()
    players = await quiz(replica)
    await replica.database.command("collMod", "submissions", validator={"country": {"$ne": "XX"}})
    group = [players.act("ada"), players.act("ben", country="XX"), players.act("cem")]
    assert await replica.submit(*group) == ["1", "UNAVAILABLE", "1"]
    assert await replica.database["submissions"].count_documents({}) == 2
    # Nothing was recorded, and sending it again settles it.
    await replica.database.command("collMod", "submissions", validator={})
    assert await replica.submit(*group) == ["again", "1", "again"]


async def test_a_store_that_is_away_settles_every_action_of_a_group(open_replica: Open) -> None:
    replica = await open_replica(f"mongodb://127.0.0.1:{free_port()}/?directConnection=true", milliseconds=300)
    group = [Players().act(f"player-{number}") for number in range(3)]
    assert await replica.submit(*group) == ["UNAVAILABLE"] * 3
