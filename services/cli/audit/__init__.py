"""Comparing recorded events with the ledger: where they come from, and what the score service did with them."""
