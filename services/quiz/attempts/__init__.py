"""Attempts that were started: their saved answers, their deadlines, and the extra time of players.

Attempt n of a player at a quiz ends when their n-th submission is recorded, whether the player or the server hands it in
(ADR 27). So no attempt is handed in twice. Must never store points: those are in the submission.
"""
