"""Boards: reading them, defining them, and tokens to read them without an account."""
