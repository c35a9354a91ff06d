"""Boards as data: their definitions, which teams make while the system runs."""
