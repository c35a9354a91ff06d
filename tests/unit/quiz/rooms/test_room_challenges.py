"""Rooms that take a proof of work, on real stores: a solution gives one seat, by whichever replica it is sent to."""

from __future__ import annotations

import asyncio

from topten.room.v1 import room_pb2

from services.quiz.rooms.room_messages import options_of
from services.quiz.rooms.seats.challenge import LIFE
from services.quiz.rooms.seats.seating import SeatRequest
from services.runtime.errors import ServiceError
from tests.unit.quiz.rooms.room_table import Game, Table, claims, refused, solution_of, table, take_seat

__all__ = ["table"]


async def solved(game: Game) -> str:
    challenge = await game.rooms.challenges.issue(game.pin)
    assert challenge is not None
    return solution_of(challenge)


async def test_a_new_seat_takes_a_solution_and_the_same_seat_none(table: Table) -> None:
    game, other = await table.open(proof_of_work=True), await table.open(proof_of_work=True)
    ada = claims("ada")
    assert (await game.frame()).options.proof_of_work
    assert await refused(take_seat(game.rooms, ada, game.pin, "Ada")) == "INVALID_ARGUMENT"
    assert await refused(take_seat(game.rooms, ada, game.pin, "Ada", await solved(other))) == "INVALID_ARGUMENT"
    late = await solved(game)
    table.clock.now += LIFE
    assert await refused(take_seat(game.rooms, ada, game.pin, "Ada", late)) == "INVALID_ARGUMENT"
    assert (await game.frame()).players == 0
    first = await take_seat(game.rooms, ada, game.pin, "Ada", await solved(game))
    again = await take_seat(table.elsewhere(game).rooms, ada, game.pin, "")
    assert (first.existed, again.existed, first.seat) == (False, True, again.seat)


async def test_a_solution_gives_one_player_a_seat_once(table: Table) -> None:
    game = await table.open(proof_of_work=True)
    replicas = [game, table.elsewhere(game)]
    solution = await solved(game)
    names = [f"p{number}" for number in range(6)]
    joins = (
        each.rooms.seating.join_all([SeatRequest(game.pin, claims(name), name, solution=solution) for name in group])
        for each, group in zip(replicas, (names[:3], names[3:]), strict=True)
    )
    outcomes = [each for group in await asyncio.gather(*joins) for each in group]
    refusals = [each for each in outcomes if isinstance(each, ServiceError)]
    assert (len(refusals), (await game.frame()).players) == (5, 1)
    assert {each.violations[0][0] for each in refusals} == {"solution"}
    kept = await table.replica.database["room_solutions"].find({}).to_list()
    assert len(kept) == 1
    assert not any(name in str(kept) for name in names)


async def test_a_refused_nickname_leaves_a_player_their_solution(table: Table) -> None:
    game = await table.open(proof_of_work=True)
    ben = claims("ben")
    await take_seat(game.rooms, claims("ada"), game.pin, "Ada", await solved(game))
    solution = await solved(game)
    assert await refused(take_seat(game.rooms, ben, game.pin, "ADA", solution)) == "NICKNAME_TAKEN"
    table.replica.identity.blocked = {"cem"}
    unspent = await solved(game)
    assert await refused(take_seat(game.rooms, claims("cem"), game.pin, "Cem", unspent)) == "PLAYER_BLOCKED"
    assert not (await take_seat(game.rooms, ben, game.pin, "Ben", solution)).existed
    assert await refused(take_seat(game.rooms, claims("dua"), game.pin, "Dua", solution)) == "INVALID_ARGUMENT"
    assert not (await take_seat(game.rooms, claims("dua"), game.pin, "Dua", unspent)).existed


async def test_a_room_without_challenges_issues_none_and_ignores_solutions(table: Table) -> None:
    game = await table.open()
    assert not options_of(room_pb2.RoomOptions()).proof_of_work
    assert await game.rooms.challenges.issue(game.pin) is None
    assert not (await take_seat(game.rooms, claims("ada"), game.pin, "Ada", "nonsense")).existed
    stored = await table.replica.database["rooms"].find_one({"_id": game.room_id})
    assert stored is not None
    # An instance of the version before knows each option of a stored room.
    assert "challenge_key" not in stored
    assert "proof_of_work" not in stored["options"]
