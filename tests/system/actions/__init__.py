"""Actions of players and of partners, and callers that wait until they are counted."""
