"""Attempts that are started: open ones with their saved answers, their deadlines, and the extra time of players.

An attempt is number n of its player at its quiz. The record that becomes their n-th submission ends it, handed in by the
player or the server (ADR 27), so an attempt is never handed in twice. Must never keep points: those are in the record.
"""
