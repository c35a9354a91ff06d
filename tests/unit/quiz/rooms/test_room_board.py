"""The board of a room on real stores: what it shows at each step, and to whom."""

from __future__ import annotations

from services.quiz.rooms.reading import FOLD_LIFE
from services.quiz.rooms.results.board import RoomBoard
from services.quiz.rooms.room import Phase
from services.quiz.rooms.transitions import Command
from services.runtime.auth.claims import Claims
from tests.unit.quiz.rooms.room_table import HOST, Game, Table, claims, refused, table, take_seat

__all__ = ["table"]

RELAY = claims("service:edge", "action:relay", "quiz:read")
READER = claims("service:screen", "leaderboard:read")


async def read(
    game: Game, caller: Claims = HOST, *ids: str, skip: int = 0, limit: int = 10, viewer_id: str = ""
) -> RoomBoard:
    return await game.rooms.boards.read(caller, game.room_id, skip=skip, limit=limit, ids=ids, viewer_id=viewer_id)


async def shown(game: Game) -> list[tuple[int, str, int]]:
    """What the board has, after what any player is told of their own place on it agrees with it."""
    board = await read(game)
    lines = [(each.place.rank, each.place.seat.nickname, each.place.points) for each in board.window]
    for line in board.window:
        own = await read(game, claims(line.place.seat.user_id), line.place.seat.user_id, limit=0)
        assert own.places == [(line.place.seat.user_id, line)]
    assert board.total == len(lines)
    return sorted(lines)  # who joined at the same moment may stand either way


async def test_the_board_is_the_one_that_the_room_has_shown_last(table: Table) -> None:
    game = await table.open()
    await game.join("ada", "ben", "cem")
    assert await shown(game) == []
    await game.until(Phase.QUESTION)
    await game.answer("ada", "q1", "a")
    await game.answer("ben", "q1", "b")
    for phase in (Phase.LOCKED, Phase.REVEAL):
        assert await shown(game) == [], "no board was shown yet"
        await game.until(phase)
    await game.until(Phase.BOARD)
    first = [(1, "The ada", 10), (2, "The ben", 0), (2, "The cem", 0)]
    assert await shown(game) == first
    assert await game.board() == {name: points for _, name, points in first}
    await game.command(Command.BACK)
    assert await shown(game) == [], "the host has taken it back"
    await game.until(Phase.BOARD)
    await game.until(Phase.QUESTION)
    await game.answer("cem", "q2", "a")
    await game.answer("ben", "q2", "a")
    for phase in (Phase.LOCKED, Phase.REVEAL):
        assert await shown(game) == first, "nobody is ahead of the host"
        await game.until(phase)
    assert await shown(game) == first
    await game.until(Phase.BOARD)
    assert await game.board() == {name: points for _, name, points in await shown(game)}
    assert await shown(game) != first


async def test_a_frozen_board_stands_still_until_the_podium_and_is_final_after_the_end(table: Table) -> None:
    game = await table.open(frozen_questions=1)
    await game.join("ada", "ben")
    questions = len((await game.room()).question_ids)
    standing = []
    for number in range(questions):
        await game.until(Phase.QUESTION)
        await game.answer("ben" if number == questions - 1 else "ada", f"q{number + 1}", "a")
        await game.until(Phase.BOARD)
        standing.append(await shown(game))
        assert dict(line[1:] for line in standing[-1]) == await game.board()
    assert standing[-1] == standing[-2], "the last question does not count yet"
    await game.until(Phase.PODIUM)
    final = await shown(game)
    assert final != standing[-1]
    assert dict(line[1:] for line in final) == await game.board()
    await game.command(Command.BACK)
    assert await shown(game) == standing[-1]
    await game.until(Phase.PODIUM)
    await game.command(Command.END)
    board = await read(game)
    assert (await shown(game), board.room.phase) == (final, Phase.ENDED)
    await table.replica.database["rooms"].delete_one({"_id": game.room_id})
    assert await refused(read(game)) == "ROOM_NOT_FOUND"


async def test_the_board_is_for_those_who_take_part(table: Table) -> None:
    game = await table.open()
    ada, ben = await game.join("ada", "ben")
    gus, phone = claims("gus", "guest"), claims("phone", "guest")
    await take_seat(game.rooms, gus, game.pin, "Gus")
    await game.rooms.service.kick(HOST, game.pin, ben)
    for caller in (HOST, claims("cora"), claims("mod", "moderator"), claims("ada"), gus, RELAY, READER):
        await read(game, caller)
    await read(game, RELAY, viewer_id="ada")
    for caller in (claims("ben"), claims("eve"), claims("eve", "guest")):
        assert await refused(read(game, caller)) == "ROOM_NOT_FOUND"
        assert await refused(read(game, RELAY, viewer_id=caller.user_id)) == "ROOM_NOT_FOUND"
    assert await refused(read(game, claims("eve"), viewer_id="ada")) == "ROOM_NOT_FOUND"
    # A guest who has moved is who takes part, not the one who was there before.
    code, _ = await game.rooms.moving.create_code(gus, game.pin)
    await game.rooms.moving.move(phone, game.pin, code)
    await read(game, phone)
    assert await refused(read(game, gus)) == "ROOM_NOT_FOUND"
    # Places are those of seats: whose they are, nobody learns of others.
    await game.until(Phase.BOARD)
    asked = (ada, "ada", "gus", "phone")
    assert {each for each, _ in (await read(game, claims("ada"), *asked)).places} == {ada, "ada"}
    assert {each for each, _ in (await read(game, HOST, *asked)).places} == {ada}
    assert {each for each, _ in (await read(game, READER, *asked)).places} == {ada}
    assert {each for each, _ in (await read(game, RELAY, *asked)).places} == {ada, "ada", "phone"}


async def test_a_board_is_read_in_windows_with_the_points_to_the_line_above(table: Table) -> None:
    game = await table.open()
    await game.join("ada", "ben", "cem", "dua")
    await game.until(Phase.QUESTION)
    await game.answer("cem", "q1", "a")
    await game.until(Phase.BOARD)
    board = await read(game, skip=1, limit=2)
    assert (board.total, [line.position for line in board.window]) == (4, [2, 3])
    assert [line.gap for line in (await read(game)).window] == [None, 10, 0, 0]
    assert [(await read(game, skip=skip, limit=2)).window for skip in (4, 1000)] == [[], []]


async def test_an_erased_player_has_no_name_within_a_minute(table: Table) -> None:
    game = await table.open()
    await game.join("ada", "ben")
    await game.until(Phase.BOARD)
    await game.command(Command.END)
    assert [name for _, name, _ in await shown(game)] == ["The ada", "The ben"]
    await game.rooms.personal_data.erase("ada", "erased-1")
    table.clock.now += FOLD_LIFE
    board = await read(game)
    assert {line.place.seat.nickname for line in board.window} == {"", "The ben"}
    assert not [place for place, _ in (await read(game, RELAY, "ada")).places]
