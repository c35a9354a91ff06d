"""The ledger: rows, the hash chain that binds them, and the folds of players."""
