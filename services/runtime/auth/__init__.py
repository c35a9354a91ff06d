"""Authentication and authorization: tokens, keys, issuers, roles and scopes."""
