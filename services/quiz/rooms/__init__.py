"""Rooms: quizzes that players play together, at the pace of a host (`docs/adr/0023-rooms.md`).

Owns rooms, their seats and their answers. `room.py` and `transitions.py` are the state machine, pure; `play/judging.py` is the
only place that knows answer keys.

Guarantees: transitions happen once and in one order, even if several hosts send them repeatedly; a seat answers a question at
most once; accepted answers survive a restart of any process, and so does the deadline of a question.

Must never: show a key before the reveal; trust a client's clock; keep state only in memory.
"""
