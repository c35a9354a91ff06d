"""Groups of players: who is a member, and what an owner does."""
