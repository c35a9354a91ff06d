"""A player's own data: export, erasure here and in the other services, and what remains so that it stays erased."""
