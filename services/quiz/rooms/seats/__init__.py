"""Seats of rooms: who sits where, under which name, with which answers and points, and what a seat costs."""
