"""Seats of rooms on real stores: who gets one, under which name, and how it moves or is lost."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from contextlib import aclosing
from datetime import timedelta

import pytest

from services.quiz.attempts.extra_time import ExtraTime
from services.quiz.rooms.documents import Seat
from services.quiz.rooms.room import LIFE, Nicknames, Phase
from services.quiz.rooms.room_store import SHORT_TRIES
from services.quiz.rooms.seats.moving import _digest
from services.quiz.rooms.service import MAX_HOSTS
from services.quiz.rooms.transitions import About, Command
from services.runtime.errors import ServiceError
from tests.unit.quiz.rooms.room_table import HOST, Table, claims, refused, table, take_seat

__all__ = ["table"]


async def test_a_seat_is_its_players_and_its_name_nobody_elses(table: Table) -> None:
    game = await table.open(max_players=2)
    (seat,) = await game.join("ada")
    assert await refused(take_seat(game.rooms, claims("ben"), game.pin, "THE-ADA")) == "NICKNAME_TAKEN"
    assert await refused(take_seat(game.rooms, claims("ben"), game.pin, "\u2800")) == "INVALID_ARGUMENT"
    assert await refused(take_seat(game.rooms, claims("ben"), game.pin, "A Rude-Word")) == "INVALID_ARGUMENT"
    table.replica.identity.blocked = {"ben"}
    assert await refused(take_seat(game.rooms, claims("ben"), game.pin, "Ben")) == "PLAYER_BLOCKED"
    # At the same moment from two devices, and later from another one: one seat.
    joins = await asyncio.gather(*(take_seat(game.rooms, claims("cem"), game.pin, name) for name in ("Cem", "Jim")))
    assert len({seat.seat_id for seat, _, _ in joins}) == 1
    again, rejoined, _ = await take_seat(game.rooms, claims("ada"), game.pin, "Someone")
    assert (again.seat_id, again.nickname, rejoined) == (seat, "The ada", True)
    assert await refused(take_seat(game.rooms, claims("dua"), game.pin, "Dua")) == "ROOM_CLOSED"
    assert await refused(take_seat(game.rooms, claims("dua"), "1000000", "Dua")) == "ROOM_NOT_FOUND"


async def test_players_who_join_together_share_an_insert_and_fill_the_room_exactly(table: Table) -> None:
    game = await table.open(max_players=20)
    await game.join("ada")
    names = [f"p{number}" for number in range(40)]
    # Names that are taken leave their seats to others, and a player who asks twice gets one.
    wishes = [(name, f"The {name}") for name in names] + [("p0", "Another"), ("cem", "the-ada"), ("ada", "Ada")]
    table.replica.commands.counts.clear()
    joins = (take_seat(game.rooms, claims(name), game.pin, nickname) for name, nickname in wishes)
    outcomes = await asyncio.gather(*joins, return_exceptions=True)
    seated = {found.seat.seat_id for found in outcomes if not isinstance(found, BaseException)}
    refusals = {str(error.reason) for error in outcomes if isinstance(error, ServiceError)}
    assert (len(seated), (await game.frame()).players) == (20, 20)
    assert refusals <= {"ROOM_CLOSED", "NICKNAME_TAKEN"}
    assert table.replica.commands.counts["insert room_seats"] <= 4
    assert table.replica.identity.calls <= 2


async def test_who_joins_while_the_host_closes_the_door_is_in_or_out(table: Table) -> None:
    game = await table.open()
    other, names = table.elsewhere(game), [f"p{number}" for number in range(20)]
    joins = [(game, other)[index % 2].join(name) for index, name in enumerate(names)]
    outcomes, _ = await asyncio.gather(
        asyncio.gather(*joins, return_exceptions=True), other.rooms.service.lock(HOST, game.pin, locked=True)
    )
    seated = [each for each in outcomes if not isinstance(each, BaseException)]
    assert {str(each.reason) for each in outcomes if isinstance(each, ServiceError)} <= {"ROOM_CLOSED"}
    assert len(seated) == (await game.frame()).players
    for replica in (game, other):
        assert await refused(replica.join("late")) == "ROOM_CLOSED"


async def test_a_guest_moves_to_another_device_by_a_code_once(table: Table) -> None:
    game = await table.open()
    moving, gus = game.rooms.moving, claims("gus", "guest")
    seat, _, _ = await take_seat(game.rooms, gus, game.pin, "Gus")
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


async def test_a_move_is_a_new_revision_once_and_keeps_no_host_from_leading(table: Table) -> None:
    game = await table.open()
    moving = game.rooms.moving
    gus, phone = claims("gus", "guest"), claims("phone", "guest")
    await take_seat(game.rooms, gus, game.pin, "Gus")
    await game.until(Phase.BOARD)
    shown = await game.frame()
    code, _ = await moving.create_code(gus, game.pin)
    assert (await game.frame()).revision == shown.revision
    snapshot, _ = await moving.move(phone, game.pin, code)
    moved = await game.frame()
    assert snapshot.room.revision == moved.revision == shown.revision + 1
    room, places = await game.rooms.play.places(game.pin, ["gus", "phone"])
    assert (room.revision, [*places]) == (moved.revision, ["phone"])
    assert (await moving.move(phone, game.pin, code))[0].room.revision == moved.revision, "sent again"
    # What a host saw before the move is what the room still shows, whichever of the two comes first.
    code, _ = await moving.create_code(phone, game.pin)
    _, applied = await asyncio.gather(
        table.elsewhere(game).rooms.moving.move(gus, game.pin, code), game.command(Command.NEXT, shown.revision)
    )
    assert applied
    assert (await game.frame()).revision == moved.revision + 2
    assert not await game.command(Command.NEXT, shown.revision), "another command was carried out since"
    # A response that was lost on the way to the record of the move: it is recorded when the move is sent again.
    code, _ = await moving.create_code(gus, game.pin)
    before = await game.frame()
    await game.rooms.seats.move(game.room_id, _digest(game.room_id, code), "phone", table.clock.now)
    assert (await game.frame()).revision == before.revision
    assert (await moving.move(phone, game.pin, code))[0].room.revision == before.revision + 1


async def test_a_code_is_only_kept_for_a_seat_that_its_player_still_has(table: Table) -> None:
    """Somebody who asked for one, and lost the seat meanwhile, could take it back by the code."""
    game = await table.open()
    moving, seats, gus = game.rooms.moving, game.rooms.seats, claims("gus", "guest")
    seat, _, _ = await take_seat(game.rooms, gus, game.pin, "Gus")
    code, expires_at = await moving.create_code(gus, game.pin)
    assert await seats.keep_code(seat, "under way", expires_at)
    code, expires_at = await moving.create_code(gus, game.pin)
    _, moved = await moving.move(claims("phone", "guest"), game.pin, code)
    assert not await seats.keep_code(seat, "under way", expires_at), "it has moved"
    await game.rooms.service.kick(HOST, game.pin, seat.seat_id)
    assert not await seats.keep_code(moved, "under way", expires_at), "it was removed"
    other, _, _ = await take_seat(game.rooms, claims("eve", "guest"), game.pin, "Eve")
    await seats.erase("eve", "erased-1")
    assert not await seats.keep_code(other, "under way", expires_at), "its player was erased"
    assert await table.replica.database["room_seats"].count_documents({"code": {"$exists": True}}) == 0


async def test_an_answer_under_way_does_not_outlive_the_removal_of_its_player(table: Table) -> None:
    game = await table.open()
    names = [f"p{number}" for number in range(20)]
    seat_ids = await game.join(*names)
    await game.until(Phase.QUESTION)
    for name, seat_id in zip(names, seat_ids, strict=True):
        answer, _ = await asyncio.gather(game.answer(name, "q1"), game.rooms.service.kick(HOST, game.pin, seat_id))
        assert answer in ("a", "ROOM_CLOSED")
    assert await table.replica.database["room_answers"].count_documents({"room_id": game.room_id}) == 0


async def test_a_host_who_was_removed_carries_out_nothing_that_is_under_way(table: Table) -> None:
    game = await table.open()
    service, hugo = game.rooms.service, claims("hugo")
    before = await service.add_host(HOST, game.pin, "hugo")
    await service.remove_host(HOST, game.pin, "hugo")
    for command in (Command.END, Command.CLOSE_TO_NEW_PLAYERS, Command.ADD_HOST):
        apply = service._apply(before, hugo, command, About(host="ida"))
        assert await refused(apply) == "PERMISSION_DENIED"
    assert "ida" not in await service.hosts(HOST, game.pin)
    # Nor does a room get more hosts than it may have by calls that began together.
    before = await service.remove_host(HOST, game.pin, "cora")
    for number in range(1, MAX_HOSTS):
        await service.add_host(HOST, game.pin, f"h{number}")
    late = service._apply(before, HOST, Command.ADD_HOST, About(host="ida"))
    assert await refused(late) == "LIMIT_REACHED"


async def test_names_may_be_generated_or_those_of_accounts(table: Table) -> None:
    game = await table.open(nicknames=Nicknames.GENERATED)
    seats = await game.join(*(f"p{number}" for number in range(20)))
    assert len({*seats}) == 20
    game = await table.open(nicknames=Nicknames.USERNAME)
    seat, _, _ = await take_seat(game.rooms, claims("ada"), game.pin, "Somebody")
    assert seat.nickname == "ada"
    assert await refused(take_seat(game.rooms, claims("gus", "guest"), game.pin, "")) == "PERMISSION_DENIED"


async def test_who_is_removed_stays_out_with_their_answers(table: Table) -> None:
    game = await table.open()
    seat, _ = await game.join("ada", "ben")
    await game.until(Phase.QUESTION)
    assert await game.answer("ada", "q1") == "a"
    for _ in range(2):
        await game.rooms.service.kick(HOST, game.pin, seat)
    frame = await game.frame()
    assert (frame.players, frame.answered, frame.revision) == (1, 0, 3)
    # They are shown the room no more, on every instance, unless they host it.
    for watching in (game.rooms.watching, table.elsewhere(game).rooms.watching):
        assert await refused(watching.current(game.pin, "ada")) == "ROOM_CLOSED"
        assert await watching.current(game.pin, "ben") == await watching.current(game.pin, "hal") == frame
        async with aclosing(watching.frames(game.room_id)) as frames:
            assert await anext(frames) == (frame, frozenset({"ada"}))
    (own,) = await game.join("hal")
    await game.rooms.service.kick(HOST, game.pin, own)
    async with aclosing(game.rooms.watching.frames(game.room_id)) as frames:
        assert (await anext(frames))[1] == {"ada"}
    assert await game.answer("ada", "q1") == "ROOM_CLOSED"
    assert await refused(game.join("ada")) == "ROOM_CLOSED"
    assert await refused(game.rooms.service.kick(HOST, game.pin, str(uuid.uuid4()))) == "PLAYER_NOT_FOUND"
    await game.rooms.service.lock(HOST, game.pin, locked=True)
    assert await refused(game.join("cem")) == "ROOM_CLOSED"
    assert (await take_seat(game.rooms, claims("ben"), game.pin, "")).existed
    await game.rooms.service.lock(HOST, game.pin, locked=False)
    await game.join("cem")
    record = await table.replica.database["rooms"].find_one({"_id": game.room_id})
    assert [(entry["command"], entry["actor"]) for entry in record["record"]] == [
        ("next", "hal"),
        ("kick", "hal"),
        ("kick", "hal"),
        ("close_to_new_players", "hal"),
        ("open_to_new_players", "hal"),
    ]


async def test_a_pin_is_one_rooms_until_a_day_after_its_life(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await table.open()
    drawn = iter([int(first.pin) - 10**5] * SHORT_TRIES + [0])
    monkeypatch.setattr(secrets, "randbelow", lambda _: next(drawn))
    # After its end, too, its PIN is not given to another room: one of seven digits is.
    await first.command(Command.END)
    second = await table.open()
    assert (second.pin, len(first.pin)) == ("1000000", 6)
    assert await refused(take_seat(first.rooms, claims("ada"), first.pin, "Ada")) == "ROOM_CLOSED"
    pins = table.replica.database["room_pins"]
    reserved = await pins.find_one({"_id": first.pin})
    assert reserved["purge_at"] == (await first.room()).opened_at + LIFE + timedelta(days=1)
    indexes = [index async for index in await pins.list_indexes()]
    assert [index["expireAfterSeconds"] for index in indexes if "purge_at" in index["key"]] == [0]


async def test_no_question_waits_for_a_player_who_is_removed_while_they_get_extra_time(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = await table.open(seconds=20)
    seat, _ = await game.join("ada", "ben")
    seats, service = game.rooms.seats, game.rooms.service
    find = seats.find

    async def find_before_the_removal(room_id: str, seat_id: str) -> Seat | None:
        found = await find(room_id, seat_id)
        monkeypatch.undo()
        await service.kick(HOST, game.pin, seat_id)
        return found

    monkeypatch.setattr(seats, "find", find_before_the_removal)
    setting = service.set_extra_time(HOST, game.pin, seat, ExtraTime.UNLIMITED)
    assert await refused(setting) == "PLAYER_NOT_FOUND"
    assert (await game.room()).extra_times == {}
