"""Tokens that let anybody read one board."""
