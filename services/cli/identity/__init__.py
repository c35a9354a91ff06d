"""Accounts, players, groups and service clients of a running system, with the operator's token."""
