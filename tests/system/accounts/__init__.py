"""Accounts: players, guests, groups, service clients, players of other systems, and erasure."""
