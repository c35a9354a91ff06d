"""Periods: how a calendar divides time, which periods have closed, and when a board freezes."""
