"""Seats of rooms: their players and nicknames, their answers and points, and the proof of work for a new seat."""
