"""The state machine of rooms: whatever comes in whatever order, its invariants hold."""

from __future__ import annotations

import csv
import io
import json
import statistics
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise, product

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from topten.quiz.v1 import quiz_pb2

from services.quiz.attempts.extra_time import ExtraTime
from services.quiz.questions.answers import selected
from services.quiz.quizzes.quiz import from_definition
from services.quiz.rooms.documents import Seat, SeatAnswer, room_fields, room_of
from services.quiz.rooms.play.judging import fault_of, judged
from services.quiz.rooms.results.result_files import Format, file_of
from services.quiz.rooms.results.results import QuestionResult, Results
from services.quiz.rooms.room import GRACE, LIFE, Options, Phase, Room
from services.quiz.rooms.seats.nickname import (
    ForbiddenWords,
    NicknameError,
    generated_nickname,
    nickname_key,
    normalize_nickname,
)
from services.quiz.rooms.seats.standings import Mark, discrimination, ranked
from services.quiz.rooms.transitions import About, Command, CommandError, advanced, settled
from tests.factories import quiz_definition

OPENED = datetime(2026, 11, 29, 9, tzinfo=UTC)
QUESTIONS = ("q1", "q2", "q3")
MILLISECOND = timedelta(milliseconds=1)
OPTIONS = st.builds(
    Options,
    seconds=st.sampled_from([0, 5, 20]),
    locks_when_all_answered=st.booleans(),
    frozen_questions=st.integers(0, 4),
)
ABOUT = st.builds(
    About,
    st.just(timedelta(seconds=10)),
    st.sampled_from(["ada", "ben"]),
    st.sampled_from(list(ExtraTime)),
    st.booleans(),
)
# A pause before each step, and a command or the answer of the last player.
STEPS = st.lists(
    st.tuples(st.integers(0, 30_000), st.one_of(st.sampled_from(list(Command)), st.just(None)), ABOUT), max_size=40
)


def room(options: Options | None = None) -> Room:
    return Room(
        room_id="r",
        pin="123456",
        quiz_id="quiz",
        quiz_version=1,
        title="A quiz",
        question_ids=QUESTIONS,
        hosts=("ada",),
        options=options or Options(),
        opened_at=OPENED,
        changed_at=OPENED,
    )


def at_question(options: Options | None = None) -> Room:
    return advanced(room(options), Command.NEXT, OPENED)


def history(options: Options, steps: list[tuple[int, Command | None, About]]) -> list[tuple[Room, datetime]]:
    """Return every revision and the time at which it was made."""
    now, found = OPENED, [(room(options), OPENED)]
    for pause, command, about in steps:
        now += pause * MILLISECOND
        before = found[-1][0]
        after = settled(before, now, waiting_for=before.extra_times, all_answered=command is None)
        if after is not found[-1][0]:
            found.append((after, now))
        if command is not None:
            try:
                found.append((advanced(after, command, now, about), now))
            except CommandError:
                continue
    return found


@given(OPTIONS, STEPS)
def test_any_order_of_commands_keeps_the_invariants(
    options: Options, steps: list[tuple[int, Command | None, About]]
) -> None:
    revisions = history(options, steps)
    for (before, _), (after, now) in pairwise(revisions):
        assert after.revision == before.revision + 1
        assert after.changed_at == now
        assert after.question - before.question in (0, 1)
        assert before.phase is not Phase.ENDED
        if after.question != before.question:
            assert before.phase in (Phase.LOBBY, Phase.BOARD)
            assert after.phase is Phase.QUESTION
        if after.shows_key and not before.shows_board:
            assert before.phase in (Phase.QUESTION, Phase.LOCKED, Phase.REVEAL)
    for each, now in revisions:
        assert 0 <= each.counted_questions <= each.revealed_questions <= each.question + 1 <= len(QUESTIONS)
        assert each.is_frozen or each.counted_questions == each.revealed_questions
        assert room_of(room_fields(each)) == each
        if each.phase in (Phase.PODIUM, Phase.ENDED):
            assert not each.is_frozen
        # Nobody answers a question whose key is known, or one that is not asked.
        for question in QUESTIONS:
            if question != each.question_id or each.shows_key or each.shows_board:
                assert not any(each.takes_answer(seat_id, question, now) for seat_id in ("ada", "ben", "cem"))
        assert ExtraTime.NONE not in each.extra_times.values()
        assert settled(settled(each, now), now) is settled(each, now)


@given(st.integers(0, 25_000))
def test_an_answer_counts_until_the_grace_after_the_deadline_is_over(elapsed: int) -> None:
    asked = at_question(Options(seconds=20))
    received_at = OPENED + elapsed * MILLISECOND
    assert asked.takes_answer("ada", "q1", received_at) == (received_at <= OPENED + timedelta(seconds=20) + GRACE)
    # Whether or not anybody has noticed that the deadline is over makes no difference.
    assert settled(asked, received_at).takes_answer("ada", "q1", received_at) == asked.takes_answer(
        "ada", "q1", received_at
    )
    assert (settled(asked, received_at).phase is Phase.LOCKED) == (not asked.takes_answer("ada", "q1", received_at))


@given(
    st.sampled_from(list(ExtraTime)), st.integers(0, 60_000), st.booleans(), st.one_of(st.none(), st.integers(0, 60))
)
def test_extra_time_moves_the_lock_of_its_player_alone(
    extra_time: ExtraTime, elapsed: int, has_answered: bool, host_locks_after: int | None
) -> None:
    asked = at_question(Options(seconds=20))
    given_time = advanced(asked, Command.SET_EXTRA_TIME, OPENED, About(seat_id="ada", extra_time=extra_time))
    received_at, waiting_for = OPENED + elapsed * MILLISECOND, () if has_answered else ("ada",)
    seen = settled(given_time, received_at, waiting_for=waiting_for)
    own = extra_time.applied_to(timedelta(seconds=20))
    own_end = None if own is None else OPENED + own
    # The others are judged as if nobody had extra time, and see the deadline that they always had.
    assert given_time.deadline == asked.deadline
    assert seen.takes_answer("ben", "q1", received_at) == asked.takes_answer("ben", "q1", received_at)
    is_in_time = own_end is None or received_at <= own_end + GRACE
    assert given_time.takes_answer("ada", "q1", received_at) == is_in_time
    # The room goes on when everybody's time is over, and not before.
    last_end = asked.deadline if has_answered else own_end
    is_over = last_end is not None and received_at > last_end + GRACE
    assert (seen.phase is Phase.LOCKED) == is_over
    assert is_over == (received_at > given_time.next_change_at(waiting_for))
    # The host may end it for everybody.
    if host_locks_after is not None and not is_over:
        locked = advanced(seen, Command.LOCK, received_at)
        later = received_at + host_locks_after * GRACE
        is_taken = locked.takes_answer("ada", "q1", later)
        assert is_taken == (given_time.takes_answer("ada", "q1", later) and host_locks_after <= 1)


@given(st.sampled_from(list(ExtraTime)))
def test_who_is_removed_keeps_nobody_waiting(extra_time: ExtraTime) -> None:
    given_time = advanced(at_question(), Command.SET_EXTRA_TIME, OPENED, About(seat_id="ada", extra_time=extra_time))
    assert advanced(given_time, Command.KICK, OPENED, About(seat_id="ada")).extra_times == {}


def test_a_host_who_locks_takes_no_answer_of_the_grace_away() -> None:
    locked = advanced(at_question(), Command.LOCK, OPENED + 5 * GRACE)
    assert locked.takes_answer("ada", "q1", OPENED + 6 * GRACE)
    assert not locked.takes_answer("ada", "q1", OPENED + 6 * GRACE + MILLISECOND)
    assert not advanced(locked, Command.NEXT, OPENED + 5 * GRACE).takes_answer("ada", "q1", OPENED + 5 * GRACE)


def test_a_question_locks_once_all_have_answered_where_the_options_say_so() -> None:
    assert settled(at_question(), OPENED, all_answered=True).phase is Phase.QUESTION
    assert settled(at_question(Options(locks_when_all_answered=True)), OPENED, all_answered=True).phase is Phase.LOCKED


def test_an_extension_starts_from_now_if_the_deadline_is_over() -> None:
    asked = at_question(Options(seconds=5))
    assert advanced(asked, Command.EXTEND, OPENED, About(10 * GRACE)).deadline == OPENED + 15 * GRACE
    late = OPENED + timedelta(seconds=5.5)
    assert advanced(asked, Command.EXTEND, late, About(10 * GRACE)).deadline == late + 10 * GRACE
    with pytest.raises(CommandError, match="does not take EXTEND"):
        advanced(at_question(), Command.EXTEND, OPENED, About(GRACE))


def test_a_room_that_nobody_ends_ends_by_itself() -> None:
    assert settled(room(), OPENED + LIFE - MILLISECOND) == room()
    ended = settled(at_question(), OPENED + 2 * LIFE)
    assert (ended.phase, ended.ended_at, ended.counted_questions) == (Phase.ENDED, OPENED + LIFE, 1)


def test_the_board_stands_still_for_the_last_questions_until_the_podium() -> None:
    each, counted = room(Options(frozen_questions=2)), []
    while each.phase is not Phase.ENDED:
        each = advanced(each, Command.NEXT, OPENED)
        if each.shows_board:
            counted.append((each.phase, each.counted_questions, each.is_frozen))
    assert counted == [
        (Phase.BOARD, 1, True),
        (Phase.BOARD, 1, True),
        (Phase.BOARD, 1, True),
        (Phase.PODIUM, 3, False),
        (Phase.ENDED, 3, False),
    ]


def test_a_host_freezes_the_board_as_it_stands_and_lets_it_go_on() -> None:
    each = advanced(advanced(at_question(), Command.REVEAL, OPENED), Command.NEXT, OPENED)
    frozen = advanced(each, Command.FREEZE, OPENED)
    assert (frozen.phase, frozen.counted_questions, frozen.is_frozen) == (Phase.BOARD, 1, True)
    later = advanced(advanced(frozen, Command.NEXT, OPENED), Command.REVEAL, OPENED)
    assert (later.revealed_questions, later.counted_questions) == (2, 1)
    again = advanced(later, Command.FREEZE, OPENED)
    assert again.options == later.options, "it stands as it did"
    moving = advanced(later, Command.UNFREEZE, OPENED)
    assert (moving.counted_questions, moving.is_frozen) == (2, False)


def test_a_command_that_names_its_phase_is_refused_in_another() -> None:
    assert advanced(room(), Command.START, OPENED).phase is Phase.QUESTION
    for each, command in ((at_question(), Command.START), (room(), Command.REVEAL)):
        with pytest.raises(CommandError):
            advanced(each, command, OPENED)


@given(st.integers(-1000, 40_000), st.integers(1, 1000))
def test_speed_points_fall_from_all_to_half_and_ignore_nothing_but_the_server(elapsed: int, points: int) -> None:
    quiz = from_definition(quiz_definition(points=points), 1)
    asked = at_question(Options(seconds=20, speed_points=True))

    def judged_after(milliseconds: int, option: str = "a", room: Room = asked) -> SeatAnswer:
        return judged(quiz, room, seat("ada"), selected("q1", option), OPENED + milliseconds * MILLISECOND)

    right, later = judged_after(elapsed), judged_after(elapsed + 1000)
    assert right.verdict == quiz_pb2.VERDICT_RIGHT
    assert points >= right.points >= later.points >= points / 2
    assert judged_after(0).points == points
    assert judged_after(0, "b").points == 0
    assert judged_after(elapsed, "a", at_question(Options(seconds=20))).points == points
    # Extra time slows the fall down for its player; without a limit there is none.
    about = About(seat_id="ada", extra_time=ExtraTime.DOUBLE)
    twice = advanced(asked, Command.SET_EXTRA_TIME, OPENED, about)
    assert judged_after(2 * elapsed, "a", twice).points == right.points
    unlimited = advanced(asked, Command.SET_EXTRA_TIME, OPENED, replace(about, extra_time=ExtraTime.UNLIMITED))
    assert judged_after(elapsed, "a", unlimited).points == points


@given(st.integers(-1000, 40_000), st.integers(1, 1000), st.sampled_from(list(ExtraTime)))
def test_the_time_of_a_seat_with_full_points_does_not_matter_and_that_of_others_does(
    elapsed: int, points: int, extra_time: ExtraTime
) -> None:
    quiz = from_definition(quiz_definition(points=points), 1)
    asked = at_question(Options(seconds=20, speed_points=True))
    about = About(seat_id="ada", extra_time=extra_time)
    slow = advanced(asked, Command.SET_EXTRA_TIME, OPENED, about)
    full = advanced(asked, Command.SET_EXTRA_TIME, OPENED, replace(about, full_points=True))

    def judged_in(room: Room, seat_id: str = "ada", option: str = "a") -> SeatAnswer:
        return judged(quiz, room, seat(seat_id), selected("q1", option), OPENED + elapsed * MILLISECOND)

    assert (judged_in(full).points, judged_in(full, option="b").points) == (points, 0)
    assert judged_in(full, "ben") == judged_in(asked, "ben")
    # It gives no more time, and the host may take it back.
    assert full.deadline_of("ada") == slow.deadline_of("ada")
    assert judged_in(advanced(full, Command.SET_EXTRA_TIME, OPENED, about)) == judged_in(slow)
    assert not advanced(full, Command.KICK, OPENED, about).full_points
    # A record with fewer points is right for the question at which the host decided, and for no later one.
    half = replace(judged_in(full), points=points - points // 2)
    assert not fault_of(quiz, full, half)
    before = advanced(room(asked.options), Command.SET_EXTRA_TIME, OPENED, replace(about, full_points=True))
    assert bool(fault_of(quiz, before, half)) == (half.points < points)


@pytest.mark.parametrize(
    ("first", "second"), [("Ann", "ann"), ("Ann", "A n-n"), ("pole", "роle"), ("Zoé", "Zoe\u0301")]
)
def test_nicknames_that_look_alike_have_one_key(first: str, second: str) -> None:
    assert nickname_key(normalize_nickname(first)) == nickname_key(normalize_nickname(second))


@pytest.mark.parametrize("text", ["", "  ", "\u202eabc", "x" * 25, "\u2800", "a\u0000b"])
def test_a_nickname_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(NicknameError):
        normalize_nickname(text)


def test_no_nickname_has_a_forbidden_word_however_it_is_written() -> None:
    forbidden = ForbiddenWords(["darn it", " "])
    for name in ("Ann", "Darn", "It darns"):
        forbidden.require_none(normalize_nickname(name))
    for name in ("darnit", "DARN IT", "xX d.a.r.n-it Xx", "d\u0430rnit"):
        with pytest.raises(NicknameError):
            forbidden.require_none(normalize_nickname(name))


def test_a_generated_nickname_is_a_nickname() -> None:
    names = [generated_nickname() for _ in range(100)]
    assert [normalize_nickname(name) for name in names] == names


def seat(name: str, joined: int = 0) -> Seat:
    return Seat(name, "r", name, name, "", is_guest=False, joined_at=OPENED + joined * MILLISECOND)


def test_equal_points_share_a_rank() -> None:
    seats = [seat("ada", 3), seat("ben", 2), seat("cem", 1), seat("dua", 0)]
    places = ranked(seats, {"ada": 20, "ben": 10, "cem": 10})
    assert [(each.rank, each.seat.nickname, each.points) for each in places] == [
        (1, "ada", 20),
        (2, "cem", 10),
        (2, "ben", 10),
        (4, "dua", 0),
    ]


def test_no_cell_of_a_file_is_a_formula() -> None:
    names = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", 'a"b,c', "Zoé"]
    places = ranked([seat(name, joined) for joined, name in enumerate(names)], {})
    text = "=cmd|' /C calc'!A1"
    asked = QuestionResult(0, "q1", text, 1, 1, [], 1.0, None)
    results = Results(at_question(), [asked], places, {0: {"=1+1": Mark(is_right=True, points=-3)}}, {})
    made = {written: file_of(results, written) for written in Format}
    rows = [
        list(csv.reader(made[each].content.decode("utf-8-sig").splitlines()))
        for each in (Format.PLAYERS_CSV, Format.QUESTIONS_CSV)
    ]
    assert [row[1] for row in rows[0][1:]] == [f"'{name}" for name in names[:5]] + names[5:]
    assert rows[1][1] == ["q1", f"'{text}", "1", "1", "1.0", ""]
    # A number stays one, also where points are negative.
    assert rows[0][1][4] == "-3"
    book = openpyxl.load_workbook(io.BytesIO(made[Format.XLSX].content))
    cells = [cell for sheet in book.worksheets for row in sheet.iter_rows() for cell in row]
    assert {cell.data_type for cell in cells} <= {"s", "n"}
    assert {*names} - {cell.value for cell in cells} == set()
    read = json.loads(made[Format.JSON].content)
    assert (read["questions"][0]["text"], [each["nickname"] for each in read["players"]]) == (text, names)
    assert made[Format.XLSX].name == "room-123456.xlsx"


def test_a_question_that_only_the_better_half_knows_tells_players_apart() -> None:
    places = ranked([seat(name) for name in "abcd"], {"a": 40, "b": 30, "c": 20, "d": 10})
    assert discrimination(places, {"a": True, "b": True, "c": False, "d": False}) == 1
    assert discrimination(places, {"a": True, "b": False, "c": True, "d": False}) == 0
    assert discrimination(places, {"a": True, "b": True, "c": False}) is None


@pytest.mark.parametrize(("seconds", "known"), [*product((5, 10, 20, 60), (5, 7, 9))])
def test_delays_of_the_network_hardly_move_points(seconds: int, known: int) -> None:
    """Players with delays of 20 to 800 ms answer after thinking for 0 s to nearly all of the time; some know the answer.

    Every delay meets every time of thinking, so the correlation has no chance in it.
    """
    quiz = from_definition(quiz_definition(points=1000), 1)
    fast = at_question(Options(seconds=seconds, speed_points=True))
    plain = at_question(Options(seconds=seconds))

    def points_after(milliseconds: int, room: Room) -> int:
        received_at = OPENED + milliseconds * MILLISECOND
        return judged(quiz, room, seat("ada"), selected("q1", "a"), received_at).points

    delays, points = [], []
    for delay, thinking in product(range(20, 801, 60), range(0, 1000 * seconds - 800, 40 * seconds)):
        delays += [delay] * 10
        points += [points_after(thinking + delay, fast)] * known + [0] * (10 - known)
        assert points_after(thinking + delay, plain) == 1000, "without speed points there is no effect"
    assert -0.02 <= statistics.correlation(delays, points) <= 0


@given(st.sampled_from([5, 7, 10, 20, 30, 600]), st.integers(0, 600_000), st.integers(0, 800))
def test_a_delay_costs_little_and_who_pretends_one_gains_nothing(seconds: int, elapsed: int, delay: int) -> None:
    quiz = from_definition(quiz_definition(points=1000), 1)
    asked = at_question(Options(seconds=seconds, speed_points=True))

    def points_after(milliseconds: int) -> int:
        received_at = OPENED + milliseconds * MILLISECOND
        return judged(quiz, asked, seat("ada"), selected("q1", "a"), received_at).points

    at_once, late = points_after(elapsed), points_after(elapsed + delay)
    # The time of receipt is all that the server looks at: to pretend a delay is to answer later.
    assert at_once - 21 <= late <= at_once, "of 1000 points, a delay of 800 ms costs 2 %, and rounding one point"
    assert points_after(min(delay, 1000)) == 1000, "and nothing for who knows the answer at once"
