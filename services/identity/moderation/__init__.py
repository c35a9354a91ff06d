"""Changes of accounts: blocks, their ends, names, countries and profiles; the log of all changes, and who may read it."""
