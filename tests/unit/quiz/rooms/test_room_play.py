"""Rooms played on real stores: what hosts and players may rely on, also from several replicas at once."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing
from datetime import UTC, timedelta

from topten.room.v1 import room_pb2

from services.quiz.attempts.extra_time import ExtraTime
from services.quiz.rooms.play.frames import outcome_of
from services.quiz.rooms.play.watching import MIN_PAUSE_SECONDS, PAUSE_SECONDS_PER_PLAYER, PAUSE_SECONDS_PER_ROOM
from services.quiz.rooms.room import GRACE, Options, Phase
from services.quiz.rooms.room_store import Transition
from services.quiz.rooms.transitions import Command, advanced
from tests.deadline import deadline, eventually
from tests.unit.quiz.rooms.room_table import HOST, SECOND, Game, Table, claims, refused, table, take_seat

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


async def test_an_answer_that_meets_the_lock_counts_or_is_refused(table: Table) -> None:
    """Also if the right option is shown at once: what was accepted is on the next board."""
    for _ in range(5):
        game = await table.open()
        other, names = table.elsewhere(game), [f"p{number}" for number in range(8)]
        await game.join(*names)
        await game.until(Phase.QUESTION)
        answers = [(game, other)[index % 2].answer(name, "q1") for index, name in enumerate(names)]
        outcomes, _ = await asyncio.gather(asyncio.gather(*answers), other.until(Phase.REVEAL))
        assert set(outcomes) <= {"a", "QUESTION_LOCKED"}
        await game.until(Phase.BOARD)
        assert await game.board() == {
            f"The {name}": 10 if outcome == "a" else 0 for name, outcome in zip(names, outcomes, strict=True)
        }


async def test_rooms_that_are_revealed_together_are_read_together(table: Table) -> None:
    first, *others = [await table.open() for _ in range(6)]
    games = [first, *(Game(first.rooms, each.clock, each.pin, each.room_id) for each in others)]
    for number, game in enumerate(games):
        await game.join("ada", "ben")
        await game.until(Phase.QUESTION)
        assert await game.answer("ada", "q1") == "a"
        # One of them is a question ahead.
        await game.until(Phase.BOARD if number == 0 else Phase.REVEAL)
    await first.until(Phase.QUESTION)
    await first.answer("ben", "q2", "b")
    await first.until(Phase.REVEAL)
    table.replica.commands.counts.clear()
    frames = await asyncio.gather(*(game.frame() for game in games))
    counts = table.replica.commands.counts
    assert (counts["aggregate room_answers"], counts["find room_seats"]) == (3, 1)
    shown = [[(each.option_id, each.count) for each in frame.distribution] for frame in frames]
    assert shown == [[("b", 1)], *[[("a", 1)]] * 5]


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
        async with aclosing(other.rooms.watching.frames(game.room_id)) as frames:
            async for frame, _ in frames:
                seen.append(frame)  # read while it grows

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


async def test_a_lobby_shows_fifty_players_at_most_two_frames_after_the_last_has_joined(table: Table) -> None:
    """With the pause between two frames of such a room, that is within a second."""
    assert MIN_PAUSE_SECONDS + 50 * PAUSE_SECONDS_PER_PLAYER + PAUSE_SECONDS_PER_ROOM <= 0.25
    game = await table.open()
    other = table.elsewhere(game)
    servers = [*other.rooms.servers[:2], *game.rooms.servers[:2]]
    for server in servers:
        await server.start()
    joined, late = asyncio.Event(), 0
    try:
        async with deadline("the lobby shows everybody"), aclosing(other.rooms.watching.frames(game.room_id)) as frames:

            async def join() -> None:
                await game.join(*(f"player-{number}" for number in range(50)))
                joined.set()

            joining = asyncio.create_task(join())
            async for frame, _ in frames:
                if frame.players == 50:
                    break
                late += joined.is_set()
            await joining
    finally:
        for server in servers:
            await server.stop()
    assert len(frame.newest_players) == 50
    assert late <= 1


async def test_a_host_names_another_who_may_do_the_same(table: Table) -> None:
    game = await table.open()
    add, ben = game.rooms.service.add_host, claims("ben")
    assert await refused(add(ben, game.pin, "ben")) == "PERMISSION_DENIED"
    table.replica.identity.unknown = {"nobody"}
    assert await refused(add(HOST, game.pin, "nobody")) == "PLAYER_NOT_FOUND"
    opening = game.rooms.service.open(HOST, (await game.room()).quiz_id, Options(), ["cora", "nobody"])
    assert await refused(opening) == "PLAYER_NOT_FOUND"
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


async def test_a_host_is_removed_but_not_the_one_who_opened_the_room(table: Table) -> None:
    game = await table.open()
    service, ben = game.rooms.service, claims("ben")
    await service.add_host(HOST, game.pin, "ben")
    assert await service.hosts(ben, game.pin) == ("hal", "cora", "ben")
    removing = (each.rooms.service.remove_host(ben, game.pin, "cora") for each in (game, game, table.elsewhere(game)))
    await asyncio.gather(*removing)
    assert await table.elsewhere(game).rooms.service.hosts(HOST, game.pin) == ("hal", "ben")
    assert await refused(game.command(Command.NEXT, host=claims("cora"))) == "PERMISSION_DENIED"
    assert await refused(service.hosts(claims("cora"), game.pin)) == "PERMISSION_DENIED"
    assert await refused(service.remove_host(claims("cora"), game.pin, "ben")) == "PERMISSION_DENIED"
    assert await refused(service.remove_host(ben, game.pin, "hal")) == "INVALID_ARGUMENT"
    await service.remove_host(ben, game.pin, "ben")
    assert await refused(service.hosts(ben, game.pin)) == "PERMISSION_DENIED"
    # Erased while the room goes on, a host stays in their place under a pseudonym.
    await service.add_host(HOST, game.pin, "dua")
    await game.rooms.personal_data.erase("hal", "nobody")
    assert await service.hosts(claims("dua"), game.pin) == ("nobody", "dua")
    assert await game.command(Command.END, host=claims("dua"))
    assert await refused(service.remove_host(claims("mo", "moderator"), game.pin, "dua")) == "ROOM_CLOSED"


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
    assert not own.full_points
    response = await game.rooms.service.set_extra_time(HOST, game.pin, slow, ExtraTime.DOUBLE, full_points=True)
    own = outcome_of(await game.rooms.play.own_place(claims("ada"), game.pin))
    assert ((await game.room()).full_points, own.full_points) == ({slow: 0}, True)
    assert (await game.rooms.service.set_extra_time(HOST, game.pin, slow, ExtraTime.DOUBLE)).full_points == {}
    assert (await game.room()).full_points == {}
    setting = game.rooms.service.set_extra_time
    assert await refused(setting(claims("ben"), game.pin, slow, ExtraTime.NONE)) == "PERMISSION_DENIED"
    assert await refused(setting(HOST, game.pin, str(uuid.uuid4()), ExtraTime.NONE)) == "PLAYER_NOT_FOUND"


async def test_a_player_brings_their_extra_time_and_the_host_decides(table: Table) -> None:
    game = await table.open(seconds=20)
    quiz_id = (await game.room()).quiz_id
    decide, why = table.replica.attempts.set_extra_time, "a document"
    mod = claims("mod", "moderator")
    await decide(mod, "ada", "", ExtraTime.ONE_AND_A_HALF, why)
    await decide(mod, "ben", "", ExtraTime.DOUBLE, why)
    await decide(mod, "ben", quiz_id, ExtraTime.NONE, why)
    await decide(mod, "cem", quiz_id, ExtraTime.UNLIMITED, why)
    before = await game.frame()
    ada, _, cem, dan = await game.join("ada", "ben", "cem", "dan")
    # Nothing that others see tells of it, not even the number of the revision.
    assert (await game.frame()).revision == before.revision
    assert (await game.room()).extra_times == {ada: ExtraTime.ONE_AND_A_HALF, cem: ExtraTime.UNLIMITED}
    setting = game.rooms.service.set_extra_time
    await setting(HOST, game.pin, cem, ExtraTime.NONE)
    await setting(HOST, game.pin, dan, ExtraTime.DOUBLE)
    await decide(mod, "dan", "", ExtraTime.UNLIMITED, why)
    # They come back on another device: what the host has decided stays.
    await table.elsewhere(game).join("ada", "cem", "dan")
    assert (await game.room()).extra_times == {ada: ExtraTime.ONE_AND_A_HALF, dan: ExtraTime.DOUBLE}
    await game.until(Phase.QUESTION)
    await decide(mod, "eve", quiz_id, ExtraTime.DOUBLE, why)
    joined = await take_seat(game.rooms, claims("eve"), game.pin, "Eve")
    shown = await game.frame()
    assert joined.snapshot.room.deadline_of(joined.seat.seat_id) == shown.deadline.ToDatetime(UTC) + 20 * SECOND
    await game.rooms.service.kick(HOST, game.pin, joined.seat.seat_id)
    assert not await game.rooms.rooms.bring_extra_time(game.room_id, joined.seat.seat_id, ExtraTime.DOUBLE)
    assert (await game.room()).extra_times == {ada: ExtraTime.ONE_AND_A_HALF, dan: ExtraTime.DOUBLE}


async def test_extra_time_that_was_brought_outlives_a_transition_at_the_same_moment(table: Table) -> None:
    game = await table.open(seconds=20)
    (seat,) = await game.join("ada")
    before = await game.room()
    rooms = game.rooms.rooms
    assert await rooms.bring_extra_time(game.room_id, seat, ExtraTime.DOUBLE)
    after = advanced(before, Command.START, table.clock.now)
    assert await rooms.replace(before, after, Transition(Command.START, table.clock.now))
    assert (await game.room()).extra_times == {seat: ExtraTime.DOUBLE}
    assert not await rooms.bring_extra_time(game.room_id, seat, ExtraTime.UNLIMITED), "once"
    await game.command(Command.END)
    assert not await rooms.bring_extra_time(game.room_id, str(uuid.uuid4()), ExtraTime.DOUBLE), "over"
