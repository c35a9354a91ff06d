"""The audit of rooms on real stores: nothing of a room that was played is a finding, and each record that was changed is."""

from __future__ import annotations

from typing import Any

import pytest

from services.quiz.attempts.extra_time import ExtraTime
from services.quiz.rooms.room import Phase
from tests.unit.quiz.rooms.room_table import HOST, SECOND, Game, Table, claims, table, take_seat

__all__ = ["table"]


async def audited(game: Game) -> tuple[int, list[tuple[str, str]]]:
    """Return the number of answers of the room, and what differs about which seat."""
    *_, last = steps = [step async for step in game.rooms.audit.run()]
    assert all(finding.room_id == game.room_id for step in steps for finding in step.findings)
    return last.answers, [(finding.seat_id, finding.detail) for step in steps for finding in step.findings]


async def played(table: Table, **options: Any) -> tuple[Game, list[str]]:
    """Play a room with three accounts and a guest, of whom one is removed, and count it."""
    game = await table.open(counts_on_boards=True, **options)
    seats = await game.join("ada", "ben", "eve")
    await game.rooms.service.set_extra_time(HOST, game.pin, seats[0], ExtraTime.NONE, full_points=True)
    await take_seat(game.rooms, claims("gus", "guest"), game.pin, "Gus")
    for question, option in (("q1", "a"), ("q2", "b"), ("q3", "a")):
        while (await game.room()).question_id != question:
            await game.until(Phase.BOARD if question != "q1" else Phase.LOBBY)
            await game.until(Phase.QUESTION)
        table.clock.now += 3 * SECOND
        for name in ("ada", "ben", "eve", "gus") if question == "q1" else ("ada", "gus"):
            assert await game.answer(name, question, option) == option
        if question == "q1":
            await game.rooms.service.kick(HOST, game.pin, seats[2])
    await game.until(Phase.ENDED)
    await game.rooms.counting.count_ended()
    return game, seats


@pytest.mark.parametrize("options", [{}, {"seconds": 20, "speed_points": True}])
async def test_a_room_as_it_was_played_has_no_findings(table: Table, options: dict[str, Any]) -> None:
    game, _ = await played(table, **options)
    assert await audited(game) == (7, [])
    await game.rooms.personal_data.erase("ada", "erased-1")
    assert await audited(game) == (7, [])


async def test_speed_points_that_fell_for_a_seat_with_full_points_are_a_finding(table: Table) -> None:
    game, (ada, _, _) = await played(table, seconds=20, speed_points=True)
    await table.replica.database["room_answers"].update_one({"seat_id": ada, "question": 2}, {"$set": {"points": 9}})
    assert await audited(game) == (7, [(ada, "has 9 points for 'q3', and the quiz gives 10")])


async def test_every_changed_record_is_a_finding_about_its_seat(table: Table) -> None:
    game, (ada, ben, eve) = await played(table)
    database = table.replica.database
    answer = await database["room_answers"].find_one({"seat_id": ada, "question": 0})
    assert answer is not None
    for changed, detail in (
        ({"points": 11}, "has 11 points for 'q1', and the quiz gives 10"),
        ({"verdict": 3, "points": 0}, "has 0 points for 'q1', and the quiz gives 10"),
        ({"question": 1}, "answers 'q1', which is not question 2 of the room"),
        ({"question": 9}, "answers 'q1', which is not question 10 of the room"),
    ):
        await database["room_answers"].update_one({"_id": answer["_id"]}, {"$set": changed})
        assert await audited(game) == (7, [(ada, detail)])
        await database["room_answers"].replace_one({"_id": answer["_id"]}, answer)
    await database["room_answers"].insert_one(answer | {"_id": "another", "seat_id": eve})
    await database["room_answers"].insert_one(answer | {"_id": "a third", "seat_id": "nobody"})
    assert sorted((await audited(game))[1]) == sorted(
        [(eve, "has answers and was removed"), ("nobody", "has answers and does not exist")]
    )
    await database["room_answers"].delete_many({"_id": {"$in": ["another", "a third"]}})
    await database["submissions"].update_one({"user_id": "ada"}, {"$set": {"points": 30}})
    await database["submissions"].delete_one({"user_id": "ben"})
    assert sorted((await audited(game))[1]) == sorted(
        [
            (ada, "counts on boards with 30 points, and its answers earn 20"),
            (ben, "counts on boards, and no such attempt is recorded"),
        ]
    )


async def test_a_room_that_goes_on_has_no_findings(table: Table) -> None:
    game = await table.open(seconds=20, speed_points=True)
    await game.join("ada", "ben")
    assert await audited(game) == (0, [])
    await game.until(Phase.QUESTION)
    assert await game.answer("ada", "q1") == "a"
    assert await audited(game) == (1, [])
    table.clock.now = (await game.room()).purge_at
    assert await audited(game) == (0, []), "it is being deleted"
