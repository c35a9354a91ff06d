"""Counters of boards that are defined while the system runs."""
