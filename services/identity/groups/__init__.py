"""Groups of players: their members, and the acts of their owners."""
