"""What operators and moderators do to the ledger: verify, repair, replay, erase."""
