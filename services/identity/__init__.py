"""Identity: who a player is, and what proves it.

Owns accounts, sessions, roles, blocks and the signing key, and states what boards must know of an account.

Guarantees: a username belongs to one account, whatever its case or compatibility form; a password is kept only as an
Argon2id digest and a refresh token only as a SHA-256 digest; an unknown name and a wrong password give the same answer
in the same time; a refresh token that was used and comes back ends its whole session;
a block is on record with the event about it, and ends the player's sessions.

Must never: log or return a password, a digest or the signing key; know anything of quizzes or scores.
"""
