"""Who calls, and what they may do: tokens, keys, issuers, roles and scopes."""
