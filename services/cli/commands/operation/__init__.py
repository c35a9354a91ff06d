"""Commands that look after a deployment: its stores, its ledger, its settings and its secrets."""
