"""Leaderboard: reading boards, and telling who watches that they have changed.

Owns nothing that lasts: the boards are the score service's, the names identity's.

Guarantees: every answer is ordered by `ranking`; a frame is the state of its board at one moment, with an id that never
goes backwards; who watches gets the newest frame within a tick of its change, and at the latest after the next re-read;
when the boards can't be read the last frame is served, marked stale.

Must never: write a board, know how points come about, or hold more for a slow reader than the newest frame.
"""
