"""Moderation: blocks, voids, adjustments and flags, and what players are told of them."""
