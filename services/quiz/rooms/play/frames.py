"""The messages about a room: the frame that everybody sees, and the outcome that one player sees. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from topten.room.v1 import room_pb2 as messages

from services.quiz.attempts.extra_time import ExtraTime
from services.quiz.questions.answers import answer_message
from services.quiz.quizzes.quiz import Quiz
from services.quiz.rooms.documents import Seat
from services.quiz.rooms.play.judging import question_of
from services.quiz.rooms.room import BOARD_SIZE, Nicknames, Options, Phase, Snapshot
from services.quiz.rooms.seats.standings import Choice, Fold, OwnPlace, Place

PHASES = {phase: messages.RoomPhase.Value(f"ROOM_PHASE_{phase.name}") for phase in Phase}
NICKNAMES = {rule: messages.NicknameRule.Value(f"NICKNAME_RULE_{rule.name}") for rule in Nicknames}

EXTRA_TIMES = {each: messages.ExtraTime.Value(f"EXTRA_TIME_{each.name}") for each in ExtraTime}


def frame_of(snapshot: Snapshot, quiz: Quiz, fold: Fold | None, newest: Sequence[Seat]) -> messages.RoomFrame:
    """Return the frame of a room. `fold` is needed once the room shows a key or the board, `newest` in the lobby."""
    room = snapshot.room
    frame = messages.RoomFrame(
        room_id=room.room_id,
        pin=room.pin,
        revision=room.revision,
        changes=snapshot.players + snapshot.answered,
        phase=PHASES[room.phase],
        title=room.title,
        question_number=room.question + 1,
        question_count=len(room.question_ids),
        players=snapshot.players,
        answered=snapshot.answered,
        frozen=room.is_frozen,
        joining_locked=room.is_closed_to_new_players,
        options=_options(room.options),
        newest_players=[messages.RoomPlayer(seat_id=seat.seat_id, nickname=seat.nickname) for seat in newest],
    )
    if room.shows_question:
        frame.question.CopyFrom(question_of(quiz, room.question_id))
        if room.asked_at is not None:
            frame.asked_at.FromDatetime(room.asked_at)
        if room.deadline is not None:
            frame.deadline.FromDatetime(room.deadline)
    if room.shows_key and fold is not None:
        question = quiz.questions[room.question_id]
        frame.right_answer.CopyFrom(question.right_answer(room.question_id))
        frame.explanation = question.explanation
        frame.distribution.extend(distribution(fold.choices, room.question))
    if room.shows_board and fold is not None:
        frame.board.extend(map(entry_of, fold.places[:BOARD_SIZE]))
    return frame


def outcome_of(own: OwnPlace) -> messages.RoomOutcome:
    """Return a player's outcome. Before the reveal it has neither verdict nor points of the answer."""
    room, seat, answer, fold = own
    outcome = messages.RoomOutcome(seat_id=seat.seat_id, nickname=seat.nickname)
    if answer is not None:
        outcome.answer.CopyFrom(answer_message(answer.answer))
        if answer.question < room.revealed_questions:
            outcome.verdict = answer.verdict
            outcome.points_awarded = answer.points
    outcome.extra_time = EXTRA_TIMES[room.extra_time_of(seat.seat_id)]
    outcome.full_points = seat.seat_id in room.full_points
    deadline = room.deadline_of(seat.seat_id) if room.phase is Phase.QUESTION else None
    if deadline is not None:
        outcome.deadline.FromDatetime(deadline)
    place = None if fold is None else fold.by_seat.get(seat.seat_id)
    if place is not None:
        outcome.points, outcome.rank = place.points, place.rank
    return outcome


def entry_of(place: Place) -> messages.RoomEntry:
    """Return a line of the board."""
    seat = place.seat
    return messages.RoomEntry(rank=place.rank, seat_id=seat.seat_id, nickname=seat.nickname, points=place.points)


def distribution(choices: Iterable[Choice], question: int) -> list[messages.OptionCount]:
    """Return how many players selected each option of a question, ordered by option."""
    found = sorted((choice.option, choice.players) for choice in choices if choice.question == question)
    return [messages.OptionCount(option_id=selected, count=count) for selected, count in found]


def _options(options: Options) -> messages.RoomOptions:
    return messages.RoomOptions(
        seconds_per_question=options.seconds,
        lock_when_all_answered=options.locks_when_all_answered,
        speed_points=options.speed_points,
        frozen_questions=options.frozen_questions,
        max_players=options.max_players,
        nicknames=NICKNAMES[options.nicknames],
        counts_on_boards=options.counts_on_boards,
        proof_of_work=options.proof_of_work,
    )
