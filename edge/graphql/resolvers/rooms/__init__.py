"""Rooms, in which a quiz is played together."""
