"""Score: the ledger of everything that changes a player's score, and what is derived from it.

Owns the ledger, the players' folds, the dead letters and every write to a board in Redis.

Guarantees: an event counts exactly once, however often and to however many workers it is delivered. A player's rows are
revisions 1, 2, 3, … without a gap, each with the hash of the one before. Boards and folds are derived from the ledger alone,
and are rebuilt from it when they are lost. An event is acknowledged only after ledger, boards and `score.events`.

Must never: write to Redis what a majority does not have in the ledger; acknowledge an event that is not completely counted;
drop an event that cannot be counted (it becomes a dead letter); know a quiz's answer key or the points of a question.
"""
