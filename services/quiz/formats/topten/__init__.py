"""Topten's own JSON, a value at a time."""
