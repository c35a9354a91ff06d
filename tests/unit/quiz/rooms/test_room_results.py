"""Ended rooms on real stores: results, attempts that count on global boards, erasure."""

from __future__ import annotations

import asyncio
import uuid

from topten.quiz.v1 import quiz_pb2

from services.quiz.attempts.extra_time import ExtraTime
from services.quiz.questions.answers import selected
from services.quiz.rooms.results.result_files import Format
from services.quiz.rooms.room import LIFE, Options, Phase
from services.quiz.rooms.transitions import Command
from services.quiz.submissions.action import Action
from services.runtime.clock import utc_now
from services.runtime.errors import ServiceError
from tests.factories import quiz_definition
from tests.unit.quiz.rooms.room_table import HOST, QUESTIONS, Table, claims, refused, table, take_seat

__all__ = ["table"]


async def test_answers_count_on_global_boards_once_where_the_room_says_so(table: Table) -> None:
    game = await table.open(counts_on_boards=True)
    await game.join("ada", "ben")
    await take_seat(game.rooms, claims("gus", "guest"), game.pin, "Gus")
    await game.until(Phase.QUESTION)
    for name in ("ada", "gus"):
        assert await game.answer(name, "q1") == "a"
    await game.until(Phase.ENDED)
    await asyncio.gather(*(rooms.counting.count_ended() for rooms in (game.rooms, table.other())))
    await table.replica.database["rooms"].update_one({"_id": game.room_id}, {"$set": {"uncounted": table.clock.now}})
    await table.other().counting.count_ended()
    records = await table.replica.database["submissions"].find({}).to_list()
    assert [(each["user_id"], each["points"], each["correct"]) for each in records] == [("ada", 10, 1)]
    assert await game.rooms.rooms.uncounted(table.clock.now, 10) == []


async def test_a_room_counts_on_global_boards_only_if_the_authors_of_its_quiz_allow_it(table: Table) -> None:
    game = await table.open()
    definition = quiz_definition("played", questions=QUESTIONS)
    counted = Options(counts_on_boards=True)

    async def opened(options: Options) -> str:
        await table.replica.quizzes.put_quiz(definition, utc_now())
        try:
            return (await game.rooms.service.open(HOST, "played", options, [])).room.phase
        except ServiceError as error:
            assert [field for field, _ in error.violations] == ["options.counts_on_boards"]
            return str(error.reason)

    assert (await opened(counted), await opened(Options())) == ("INVALID_ARGUMENT", Phase.LOBBY), "not by default"
    definition.rooms_count_on_boards = True
    assert await opened(counted) == Phase.LOBBY
    definition.timing.limit_seconds = 60
    assert await opened(counted) == "INVALID_ARGUMENT", "attempts at a timed quiz are started"


async def test_an_attempt_counts_as_the_room_played_it_and_its_player_alone_is_refused(table: Table) -> None:
    game = await table.open(counts_on_boards=True)
    await game.join("ada", "ben", "cem")
    await game.until(Phase.QUESTION)
    for name in ("ada", "ben"):
        assert await game.answer(name, "q1") == "a"
    # Meanwhile the author closes the quiz, mends its key, gives it a time limit, lets rooms count on their own board,
    # and allows one attempt, which Ben has used.
    room, now = await game.room(), utc_now()
    changed = quiz_definition(room.quiz_id, questions=QUESTIONS, max_attempts=1)
    changed.questions[0].correct_option = "b"
    await table.replica.quizzes.put_quiz(changed, now)
    attempt = Action("ben", "", str(uuid.uuid4()), room.quiz_id, (selected("q1", "b"),), now, quiz_pb2.Client())
    await table.replica.service.submit_action(attempt)
    changed.timing.limit_seconds = 60
    changed.closes_at.FromDatetime(now - LIFE)
    await table.replica.quizzes.put_quiz(changed, utc_now())
    await table.replica.cache.forget_shared()
    table.replica.cache.forget()
    await game.until(Phase.ENDED)
    await game.rooms.counting.count_ended()
    records = await table.replica.database["submissions"].find({"user_id": "ada"}).to_list()
    assert [(each["points"], each["correct"], each["quiz_version"]) for each in records] == [(10, 1, room.quiz_version)]
    results, _, _ = await table.elsewhere(game).rooms.results.page(HOST, game.room_id, 0, "")
    attempts = {place.seat.user_id: results.attempts.get(place.seat.seat_id) for place in results.places}
    assert attempts == {"ada": "COUNTED", "ben": "ATTEMPTS_EXHAUSTED", "cem": None}
    assert await game.rooms.rooms.uncounted(table.clock.now, 10) == []


async def test_a_room_that_its_host_left_ends_by_itself(table: Table) -> None:
    game = await table.open()
    assert await game.rooms.rooms.living(table.clock.now) == [game.room_id]
    table.clock.now += LIFE
    await game.rooms.counting.count_ended()
    stored = (await game.rooms.rooms.rooms([game.room_id]))[game.room_id]
    assert stored.phase is Phase.ENDED
    assert await game.rooms.rooms.living(table.clock.now) == []


async def test_results_say_how_well_each_question_was_known(table: Table) -> None:
    game = await table.open()
    names = ("ada", "ben", "cem", "dua")
    await game.join(*names)
    for question, known in (("q1", "ab"), ("q2", "abc"), ("q3", "a")):
        await game.until(Phase.QUESTION)
        await asyncio.gather(*(game.answer(name, question, "a" if name[0] in known else "b") for name in names))
        await game.until(Phase.BOARD)
    results, places, token = await game.rooms.results.page(HOST, game.room_id, 3, "")
    assert [(place.rank, place.seat.user_id, place.points) for place in places] == [
        (1, "ada", 30),
        (2, "ben", 20),
        (3, "cem", 10),
    ]
    assert [(each.difficulty, each.discrimination) for each in results.questions] == [
        (0.5, 1.0),
        (0.75, 0.5),
        (0.25, 0.5),
    ]
    _, following, last = await game.rooms.results.page(HOST, game.room_id, 3, token)
    assert ([place.seat.user_id for place in following], last) == (["dua"], "")
    other = await table.open()
    assert await refused(game.rooms.results.page(HOST, other.room_id, 3, token)) == "CURSOR_EXPIRED"
    made = await game.rooms.results.file(HOST, game.room_id, Format.PLAYERS_CSV)
    assert made.name == f"room-{game.pin}-players.csv"
    assert made.content.decode("utf-8-sig").splitlines()[:2] == [
        "rank,nickname,points,attempt,q1,q2,q3",
        "1,The ada,30,,10,10,10",
    ]
    assert await refused(game.rooms.results.file(claims("ada"), game.room_id, Format.JSON)) == "PERMISSION_DENIED"


async def test_an_erased_player_is_named_nowhere_and_their_points_stay(table: Table) -> None:
    game = await table.open()
    await game.join("ada")
    await game.until(Phase.QUESTION)
    await game.answer("ada", "q1")
    await game.until(Phase.BOARD)
    (record,), token = await game.rooms.personal_data.records("ada", "")
    assert (record.seat.nickname, [given.answer.values for given in record.answers], token) == ("The ada", [("a",)], "")

    async def led(host: str) -> list[list[tuple[str, str]]]:
        rooms, following = await game.rooms.personal_data.rooms(host, "")
        assert ([each.room.room_id for each in rooms], following) == ([game.room_id], "")
        return [[(act.command, act.about) for act in each.acts] for each in rooms]

    await game.rooms.service.add_host(HOST, game.pin, "ben")
    await game.rooms.service.set_extra_time(claims("ben"), game.pin, record.seat.seat_id, ExtraTime.DOUBLE)
    await game.rooms.service.remove_host(HOST, game.pin, "ben")
    assert await led("ben") == [[(Command.SET_EXTRA_TIME, record.seat.seat_id)]], "also of who hosts no more"
    assert (Command.ADD_HOST, "") in (await led("hal"))[0]
    assert await game.rooms.personal_data.rooms("ada", "") == ([], "")
    for user_id in ("ada", "hal", "ben"):
        await game.rooms.personal_data.erase(user_id, f"pseudonym-{len(user_id)}")
    other = table.elsewhere(game)
    assert await other.board() == {"": 10}
    for name in ("rooms", "room_seats", "room_answers", "room_pins"):
        stored = str(await table.replica.database[name].find({}).to_list())
        assert "'ada'" not in stored
        assert "'hal'" not in stored
        assert "'ben'" not in stored
        assert "The ada" not in stored


async def test_results_have_players_who_joined_since_they_were_read(table: Table) -> None:
    game = await table.open()
    for name in ("ada", "ben"):
        await game.join(name)
        results, _, _ = await game.rooms.results.page(HOST, game.room_id, 0, "")
        assert f"The {name}" in {place.seat.nickname for place in results.places}
