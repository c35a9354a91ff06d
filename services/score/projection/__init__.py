"""From the ledger to the boards in Redis: standings, the board writer, rebuilds and loss detection."""
