"""Periods that close, and the signed heads of their boards."""
