"""Rooms: quizzes that players play together, at the pace of a host (`docs/adr/0023-rooms.md`).

Owns rooms, their seats and their answers. `room.py` and `transitions.py` are the state machine, pure; `judging.py` is the only
place that knows answer keys.

Guarantees: transitions happen once and in one order, however many hosts send them and how often; a seat answers a question at
most once; what was accepted survives a restart of any process, and a question locks at its deadline without any process having
to remember it.

Must never: show a key before the reveal; believe a client's clock; keep state that is only in memory.
"""
