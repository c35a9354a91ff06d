"""Boards: definitions, backfill, shards, ranks and ties, on every read path."""
