"""Identity: who a player is, and what proves it.

Owns accounts, sessions, roles, blocks and the signing key, and publishes the changes of accounts that boards depend on.

Guarantees: a username belongs to one account, whatever its case or compatibility form; passwords are stored only as
Argon2id digests and refresh tokens only as SHA-256 digests; an unknown username and a wrong password have the same response
in the same time; reusing a rotated refresh token ends its session; a block is recorded together with its event, and ends
the player's sessions, as a new password does, including those that are being opened; a guest ends at a fixed time and is
erased after it, unless a player has claimed the account.

Must never: log or return a password, a digest or the signing key; know anything about quizzes or scores.
"""
