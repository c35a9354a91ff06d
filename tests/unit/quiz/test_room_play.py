"""Rooms on real stores: what hosts and players may rely on, also from several replicas at once."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing
from datetime import timedelta

from topten.quiz.v1 import quiz_pb2
from topten.room.v1 import room_pb2

from services.quiz.action import Action
from services.quiz.extra_time import ExtraTime
from services.quiz.questions.answers import selected
from services.quiz.rooms.frames import outcome_of
from services.quiz.rooms.result_files import Format
from services.quiz.rooms.room import GRACE, LIFE, Nicknames, Options, Phase
from services.quiz.rooms.transitions import Command
from services.runtime.clock import utc_now
from services.runtime.errors import ServiceError
from tests.deadline import deadline, eventually
from tests.factories import quiz_definition
from tests.unit.quiz.room_table import HOST, QUESTIONS, SECOND, Table, claims, refused, table

__all__ = ["table"]


async def test_a_room_plays_its_quiz_from_the_lobby_to_the_podium(table: Table) -> None:
    game = await table.open()
    await game.join("ada", "ben")
    lobby = await game.frame()
    assert (lobby.phase, lobby.players, lobby.revision) == (room_pb2.ROOM_PHASE_LOBBY, 2, 1)
    assert {player.nickname for player in lobby.newest_players} == {"The ada", "The ben"}
    assert await game.answer("ada", "q1") == "QUESTION_LOCKED"

    await game.until(Phase.QUESTION)
    assert await game.answer("ada", "q1", "a") == "a"
    assert await game.answer("ben", "q1", "b") == "b"
    assert await game.answer("cem", "q1") == "PLAYER_NOT_FOUND"
    assert await game.answer("ada", "q2") == "QUESTION_LOCKED"
    assert await game.answer("ada", "q9") == "INVALID_ARGUMENT"
    asked = await game.frame()
    assert (asked.question.id, asked.answered, asked.question_number) == ("q1", 2, 1)
    assert not asked.HasField("right_answer")
    assert not asked.distribution

    await game.until(Phase.REVEAL)
    shown = await game.frame()
    assert shown.right_answer.selected_option == "a"
    assert [(each.option_id, each.count) for each in shown.distribution] == [("a", 1), ("b", 1)]
    await game.until(Phase.BOARD)
    assert await game.board() == {"The ada": 10, "The ben": 0}
    await game.until(Phase.PODIUM)
    await game.until(Phase.ENDED)
    assert await game.board() == {"The ada": 10, "The ben": 0}
    assert await refused(game.join("dua")) == "ROOM_CLOSED"


async def test_the_first_answer_stays_however_often_and_wherever_another_is_sent(table: Table) -> None:
    game = await table.open()
    await game.join(*"abcdefgh")
    await game.until(Phase.QUESTION)
    replicas = [game, table.elsewhere(game), table.elsewhere(game)]
    sent = [(replica, name, option) for replica in replicas for name in "abcdefgh" for option in "ab"]
    outcomes = await asyncio.gather(*(replica.answer(name, "q1", option) for replica, name, option in sent))
    assert sorted(len(each) for each in outcomes) == [1] * 8 + [len("a again")] * (len(sent) - 8)
    for name in "abcdefgh":
        mine = {outcome[0] for (_, each, _), outcome in zip(sent, outcomes, strict=True) if each == name}
        assert len(mine) == 1
    assert (await game.frame()).answered == 8
    # Sent again after the lock, it is still known.
    await game.until(Phase.REVEAL)
    assert (await game.answer("a", "q1", "b")).endswith(" again")


async def test_of_two_hosts_at_once_one_wins_and_the_other_gets_the_state(table: Table) -> None:
    game = await table.open()
    other = table.elsewhere(game)
    cora = claims("cora")
    for _ in range(4):
        revision = (await game.room()).revision
        applied = await asyncio.gather(
            game.command(Command.NEXT, revision), other.command(Command.NEXT, revision, host=cora)
        )
        assert sorted(applied) == [False, True]
        assert (await game.room()).revision == revision + 1


async def test_a_command_that_is_sent_again_is_carried_out_once(table: Table) -> None:
    game = await table.open()
    sent = str(uuid.uuid4())
    assert [await game.command(Command.NEXT, 1, sent) for _ in range(3)] == [True, True, True]
    assert (await game.room()).phase is Phase.QUESTION
    assert not await game.command(Command.NEXT, 1)
    # Not even at another revision.
    assert await game.command(Command.NEXT, 2, sent)
    assert (await game.room()).phase is Phase.QUESTION


async def test_only_hosts_lead_a_room(table: Table) -> None:
    game = await table.open()
    (seat,) = await game.join("ada")
    assert await refused(game.command(Command.NEXT, host=claims("ada"))) == "PERMISSION_DENIED"
    assert await refused(game.rooms.service.lock(claims("ada"), game.pin, locked=True)) == "PERMISSION_DENIED"
    assert await refused(game.rooms.service.kick(claims("ada"), game.pin, seat)) == "PERMISSION_DENIED"
    assert await refused(game.rooms.results.page(claims("ada"), game.room_id, 0, "")) == "PERMISSION_DENIED"
    assert await game.command(Command.NEXT, host=claims("mo", "player", "moderator"))
    opening = table.other().service.open(claims("ada"), "quiz", Options(), [])
    assert await refused(opening) == "PERMISSION_DENIED"
    opening = table.other(players_host=True).service.open(claims("ada"), "quiz", Options(), [])
    assert await refused(opening) == "QUIZ_NOT_FOUND"
    assert await refused(game.command(Command.BACK)) == "INVALID_ARGUMENT"


async def test_a_question_locks_at_its_deadline_whichever_replica_is_left(table: Table) -> None:
    game = await table.open(seconds=10)
    await game.join("ada", "ben", "cem")
    await game.until(Phase.QUESTION)
    table.clock.now += 9 * SECOND
    assert await game.answer("ada", "q1") == "a"
    # The replica that asked is gone. Another one, which has nothing in memory, goes on.
    game = table.elsewhere(game)
    table.clock.now += SECOND + GRACE
    assert await game.answer("ben", "q1") == "a"
    table.clock.now += timedelta(milliseconds=1)
    assert await game.answer("cem", "q1") == "QUESTION_LOCKED"
    room = await game.room()
    assert (room.phase, room.locked_at) == (Phase.LOCKED, room.deadline)
    # A host who pressed for the lock at the same moment does not reveal by it.
    assert not await game.command(Command.NEXT, room.revision - 1)
    assert (await game.frame()).answered == 2


async def test_frames_follow_every_change_up_to_the_end(table: Table) -> None:
    game = await table.open(locks_when_all_answered=True)
    other = table.elsewhere(game)
    servers = [*other.rooms.servers[:2], *game.rooms.servers[:2]]
    for server in servers:
        await server.start()
    seen: list[room_pb2.RoomFrame] = []

    async def watch() -> None:
        async with aclosing(other.rooms.watching.frames(game.pin)) as frames:
            async for frame in frames:
                seen.append(frame)  # noqa: PERF401  # read while it grows

    async def is_locked() -> bool:
        return bool(seen) and seen[-1].phase == room_pb2.ROOM_PHASE_LOCKED

    try:
        async with deadline("the last frame"):
            watching = asyncio.create_task(watch())
            await game.join("ada", "ben")
            await game.until(Phase.QUESTION)
            await asyncio.gather(game.answer("ada", "q1"), game.answer("ben", "q1"))
            await eventually(is_locked, "the question locks")
            await game.command(Command.END)
            await watching
    finally:
        for server in servers:
            await server.stop()
    positions = [(frame.revision, frame.changes) for frame in seen]
    assert positions == sorted(positions)
    assert seen[-1].phase == room_pb2.ROOM_PHASE_ENDED


async def test_a_seat_is_its_players_and_its_name_nobody_elses(table: Table) -> None:
    game = await table.open(max_players=2)
    seating = game.rooms.seating
    (seat,) = await game.join("ada")
    assert await refused(seating.join(claims("ben"), game.pin, "THE-ADA")) == "NICKNAME_TAKEN"
    assert await refused(seating.join(claims("ben"), game.pin, "\u2800")) == "INVALID_ARGUMENT"
    table.replica.identity.blocked = {"ben"}
    assert await refused(seating.join(claims("ben"), game.pin, "Ben")) == "PLAYER_BLOCKED"
    # At the same moment from two devices, and later from another one: one seat.
    joins = await asyncio.gather(*(seating.join(claims("cem"), game.pin, name) for name in ("Cem", "Jim")))
    assert len({seat.seat_id for _, seat, _ in joins}) == 1
    _, again, rejoined = await seating.join(claims("ada"), game.pin, "Someone")
    assert (again.seat_id, again.nickname, rejoined) == (seat, "The ada", True)
    assert await refused(seating.join(claims("dua"), game.pin, "Dua")) == "ROOM_CLOSED"
    assert await refused(seating.join(claims("dua"), "1000000", "Dua")) == "ROOM_NOT_FOUND"


async def test_players_who_join_together_share_an_insert_and_fill_the_room_exactly(table: Table) -> None:
    game = await table.open(max_players=20)
    await game.join("ada")
    names = [f"p{number}" for number in range(40)]
    # Names that are taken leave their seats to others, and a player who asks twice gets one.
    wishes = [(name, f"The {name}") for name in names] + [("p0", "Another"), ("cem", "the-ada"), ("ada", "Ada")]
    table.replica.commands.counts.clear()
    joins = (game.rooms.seating.join(claims(name), game.pin, nickname) for name, nickname in wishes)
    outcomes = await asyncio.gather(*joins, return_exceptions=True)
    seated = {found[1].seat_id for found in outcomes if not isinstance(found, BaseException)}
    refusals = {str(error.reason) for error in outcomes if isinstance(error, ServiceError)}
    assert (len(seated), (await game.frame()).players) == (20, 20)
    assert refusals <= {"ROOM_CLOSED", "NICKNAME_TAKEN"}
    assert table.replica.commands.counts["insert room_seats"] <= 4
    assert table.replica.identity.calls <= 2


async def test_a_guest_moves_to_another_device_by_a_code_once(table: Table) -> None:
    game = await table.open()
    moving, gus = game.rooms.moving, claims("gus", "guest")
    _, seat, _ = await game.rooms.seating.join(gus, game.pin, "Gus")
    await game.join("ada")
    await game.until(Phase.QUESTION)
    assert await game.answer("gus", "q1") == "a"
    old, _ = await moving.create_code(gus, game.pin)
    code, expires_at = await moving.create_code(gus, game.pin)
    phone, other = claims("phone", "guest"), claims("other", "guest")
    assert await refused(moving.move(phone, game.pin, old)) == "PLAYER_NOT_FOUND"
    stored = str(await table.replica.database["room_seats"].find({}).to_list())
    assert code not in stored
    # From two devices at once, however it is spelled: one gets the seat, and gets it again if the response was lost.
    spelled = f"{code[:4].lower()}-{code[4:]} "
    moves = [moving.move(each, game.pin, spelled) for each in (phone, other)]
    won = [each for each in await asyncio.gather(*moves, return_exceptions=True) if isinstance(each, tuple)]
    (moved,) = [seat for _, seat in won]
    assert (moved.seat_id, moved.nickname) == (seat.seat_id, "Gus")
    by = {"phone": phone, "other": other}[moved.user_id]
    assert (await moving.move(by, game.pin, code))[1] == moved
    assert await refused(moving.move(gus, game.pin, code)) == "PLAYER_NOT_FOUND"
    assert await game.answer("gus", "q1") == "PLAYER_NOT_FOUND"
    assert await game.answer(moved.user_id, "q1", "b") == "a again"
    await game.until(Phase.BOARD)
    assert await game.board() == {"Gus": 10, "The ada": 0}
    # Nobody has two seats, those of accounts stay theirs, and a code ends.
    code, expires_at = await moving.create_code(by, game.pin)
    assert await refused(moving.move(claims("ada"), game.pin, code)) == "LIMIT_REACHED"
    assert await refused(moving.create_code(claims("ada"), game.pin)) == "PERMISSION_DENIED"
    table.replica.identity.blocked = {"eve"}
    assert await refused(moving.move(claims("eve"), game.pin, code)) == "PLAYER_BLOCKED"
    table.clock.now = expires_at
    assert await refused(moving.move(claims("new", "guest"), game.pin, code)) == "PLAYER_NOT_FOUND"


async def test_a_host_names_another_who_may_do_the_same(table: Table) -> None:
    game = await table.open()
    add, ben = game.rooms.service.add_host, claims("ben")
    assert await refused(add(ben, game.pin, "ben")) == "PERMISSION_DENIED"
    table.replica.identity.unknown = {"nobody"}
    assert await refused(add(HOST, game.pin, "nobody")) == "PLAYER_NOT_FOUND"
    # Named three times at once, and while the room goes on: it happens once, and so does the transition.
    first = (await game.room()).revision
    adding = (each.rooms.service.add_host(HOST, game.pin, "ben") for each in (game, game, table.elsewhere(game)))
    advancing = asyncio.create_task(game.command(Command.NEXT, first))
    await asyncio.gather(*adding)
    advanced = await advancing
    room = await table.elsewhere(game).room()
    assert room.hosts == ("hal", "cora", "ben")
    assert (room.phase is Phase.QUESTION, room.revision) == (advanced, first + 1 + advanced)
    revision = room.revision
    applied = await asyncio.gather(
        game.command(Command.NEXT, revision), table.elsewhere(game).command(Command.NEXT, revision, host=ben)
    )
    assert sorted(applied) == [False, True]
    await add(ben, game.pin, "dua")
    for number in range(7):
        await add(HOST, game.pin, f"host-{number}")
    assert await refused(add(HOST, game.pin, "one too many")) == "LIMIT_REACHED"
    assert await game.command(Command.END, host=claims("dua"))
    assert await refused(add(HOST, game.pin, "late")) == "LIMIT_REACHED"


async def test_names_may_be_generated_or_those_of_accounts(table: Table) -> None:
    game = await table.open(nicknames=Nicknames.GENERATED)
    seats = await game.join(*(f"p{number}" for number in range(20)))
    assert len({*seats}) == 20
    game = await table.open(nicknames=Nicknames.USERNAME)
    _, seat, _ = await game.rooms.seating.join(claims("ada"), game.pin, "Somebody")
    assert seat.nickname == "ada"
    assert await refused(game.rooms.seating.join(claims("gus", "guest"), game.pin, "")) == "PERMISSION_DENIED"


async def test_extra_time_keeps_a_question_open_for_its_player_alone(table: Table) -> None:
    game = await table.open(seconds=20)
    slow, _ = await game.join("ada", "ben")
    response = await game.rooms.service.set_extra_time(HOST, game.pin, slow, ExtraTime.DOUBLE)
    assert response.extra_times == {slow: ExtraTime.DOUBLE}
    await game.until(Phase.QUESTION)
    shown = await game.frame()
    table.clock.now += 25 * SECOND
    # Everybody sees the same: a question whose deadline is over. Only the player knows of theirs.
    assert await game.frame() == shown
    assert await game.answer("ben", "q1") == "QUESTION_LOCKED"
    own = outcome_of(await game.rooms.play.own_place(claims("ada"), game.pin))
    assert (own.extra_time, own.deadline.seconds - shown.deadline.seconds) == (room_pb2.EXTRA_TIME_DOUBLE, 20)
    assert await table.elsewhere(game).answer("ada", "q1") == "a"
    assert (await game.room()).phase is Phase.LOCKED
    results, _, _ = await game.rooms.results.page(HOST, game.room_id, 0, "")
    assert results.room.extra_times == {slow: ExtraTime.DOUBLE}
    setting = game.rooms.service.set_extra_time
    assert await refused(setting(claims("ben"), game.pin, slow, ExtraTime.NONE)) == "PERMISSION_DENIED"
    assert await refused(setting(HOST, game.pin, str(uuid.uuid4()), ExtraTime.NONE)) == "PLAYER_NOT_FOUND"


async def test_who_is_removed_stays_out_with_their_answers(table: Table) -> None:
    game = await table.open()
    seat, _ = await game.join("ada", "ben")
    await game.until(Phase.QUESTION)
    assert await game.answer("ada", "q1") == "a"
    for _ in range(2):
        await game.rooms.service.kick(HOST, game.pin, seat)
    frame = await game.frame()
    assert (frame.players, frame.answered, frame.revision) == (1, 0, 3)
    assert await game.answer("ada", "q1") == "ROOM_CLOSED"
    assert await refused(game.join("ada")) == "ROOM_CLOSED"
    assert await refused(game.rooms.service.kick(HOST, game.pin, str(uuid.uuid4()))) == "PLAYER_NOT_FOUND"
    await game.rooms.service.lock(HOST, game.pin, locked=True)
    assert await refused(game.join("cem")) == "ROOM_CLOSED"
    assert (await game.rooms.seating.join(claims("ben"), game.pin, ""))[2]
    await game.rooms.service.lock(HOST, game.pin, locked=False)
    await game.join("cem")
    record = await table.replica.database["rooms"].find_one({"_id": game.room_id})
    assert [(entry["command"], entry["actor"]) for entry in record["record"]] == [
        ("next", "hal"),
        ("kick", "hal"),
        ("close_to_new_players", "hal"),
        ("open_to_new_players", "hal"),
    ]


async def test_answers_count_on_global_boards_once_where_the_room_says_so(table: Table) -> None:
    game = await table.open(counts_on_boards=True)
    await game.join("ada", "ben")
    await game.rooms.seating.join(claims("gus", "guest"), game.pin, "Gus")
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


async def test_an_attempt_counts_as_the_room_played_it_and_its_player_alone_is_refused(table: Table) -> None:
    game = await table.open(counts_on_boards=True)
    await game.join("ada", "ben", "cem")
    await game.until(Phase.QUESTION)
    for name in ("ada", "ben"):
        assert await game.answer(name, "q1") == "a"
    # Meanwhile the author closes the quiz, mends its key and allows one attempt, which Ben has used.
    room, now = await game.room(), utc_now()
    changed = quiz_definition(room.quiz_id, questions=QUESTIONS, max_attempts=1)
    changed.questions[0].correct_option = "b"
    await table.replica.quizzes.put_quiz(changed, now)
    attempt = Action("ben", "", str(uuid.uuid4()), room.quiz_id, (selected("q1", "b"),), now, quiz_pb2.Client())
    await table.replica.service.submit_action(attempt)
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
    stored = await game.rooms.rooms.room(game.room_id)
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
    for user_id in ("ada", "hal"):
        await game.rooms.personal_data.erase(user_id, f"pseudonym-{len(user_id)}")
    other = table.elsewhere(game)
    assert await other.board() == {"": 10}
    for name in ("rooms", "room_seats", "room_answers", "room_pins"):
        stored = str(await table.replica.database[name].find({}).to_list())
        assert "'ada'" not in stored
        assert "'hal'" not in stored
        assert "The ada" not in stored
