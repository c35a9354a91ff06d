"""Confirmations: the total and standings of a player after their action is counted, for a caller that waits for them.

For every process that records actions: it listens before it records, and learns from score's own signal, `score.events`, when
the ledger and the boards have the action. Never refuses or delays the record itself, and never polls.
"""
