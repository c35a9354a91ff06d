"""Leaderboard: reading boards, and sending changes to everybody who watches them.

Owns no lasting data: the boards belong to score, the names to identity. Keeps three things in memory:

- the frame of each watched board, which is sent to its streams and answers reads of its head (`watching.watch`);
- the last frame of each recently read board, which is served while boards cannot be read (`reading.frames`);
- usernames and countries of players (`reading.names`).

Guarantees: every result is in the order of `ranking`; a frame is one state of its board, under an id that never goes
backwards; every watcher gets the newest frame within a tick of its change, and after the next periodic read at the
latest; while a board cannot be read its last frame is served, marked stale.

Must never: write a board, know how points are earned, or hold more for a slow stream than the newest frame.
"""
