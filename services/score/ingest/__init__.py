"""From the stream to the ledger: consumers, acknowledgements and dead letters."""
