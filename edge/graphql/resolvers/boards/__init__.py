"""Boards: what is on them, how they are defined, and who reads them without an account."""
