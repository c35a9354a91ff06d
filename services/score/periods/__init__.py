"""Closing periods and archiving their boards."""
