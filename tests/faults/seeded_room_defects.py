"""Plausible defects in rooms, each as one change of one file."""

from __future__ import annotations

from tests.faults.seeded_defects import Defect

ROOM_DEFECTS = (
    Defect(
        "one solution gives seats to several players",
        "services/quiz/rooms/seats/challenges.py",
        "existed = {indexes[place] for place in await insert_each(self._spent, documents)}",
        "existed = {indexes[place] for place in await insert_each(self._spent, documents) if place < 0}",
        ("tests/unit/quiz/rooms/test_room_challenges.py",),
    ),
    Defect(
        "a code is kept for a seat that its player has lost",
        "services/quiz/rooms/seats/seat_store.py",
        '{"_id": seat.seat_id, "user_id": seat.user_id, "is_removed": False}',
        '{"_id": seat.seat_id}',
        ("tests/unit/quiz/rooms/test_room_seats.py", "-k", "code_is_only_kept"),
    ),
    Defect(
        "a host counts a room whose quiz does not allow it",
        "services/quiz/rooms/service.py",
        "    if not quiz.view.rooms_count_on_boards:\n",
        "    if False:\n",
        ("tests/unit/quiz/rooms/test_room_results.py", "-k", "authors_of_its_quiz"),
    ),
    Defect(
        "nobody notices that an answer of a room was changed",
        "services/quiz/rooms/play/judging.py",
        "    if given.verdict != outcome.verdict or not least <= given.points <= most:\n",
        "    if False:\n",
        ("tests/unit/quiz/rooms/test_room_audit.py", "-k", "changed_record"),
    ),
    Defect(
        "a removed host carries out what is under way",
        "services/quiz/rooms/service.py",
        "            require_host(host, snapshot.room)  # another host may have removed this one meanwhile\n",
        "",
        ("tests/unit/quiz/rooms/test_room_seats.py", "-k", "host_who_was_removed"),
    ),
    Defect(
        "the board of a room is ahead of its host",
        "services/quiz/rooms/room.py",
        "return replace(self, phase=Phase.QUESTION) if self.question > 0 else None",
        "return self",
        ("tests/unit/quiz/rooms/test_room_board.py", "-k", "shown_last"),
    ),
)
