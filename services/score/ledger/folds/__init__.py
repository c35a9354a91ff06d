"""Folds: the state of each player after their rows so far, in memory and behind the ledger."""
