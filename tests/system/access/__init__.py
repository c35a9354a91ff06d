"""Who may do what, and what strangers send: permissions, tokens, limits, and values that nobody expects."""
