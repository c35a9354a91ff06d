"""Who is calling: tokens, cookies, sessions, players of outside issuers, and the peer of the connection."""
