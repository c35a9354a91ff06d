"""Score: the ledger of everything that changed a player's score, and what is derived from it.

Owns the ledger, the players' folds, the dead letters and every write to a board in Redis.

Guarantees: an event counts exactly once, however often and to however many workers it is delivered; a player's rows are
revisions 1, 2, 3, … without a gap, each with the hash of the one before; boards and folds are what the ledger says, and
are made anew from it when they are lost; an event is acknowledged only after ledger, boards and `score.events`.

Must never: write to Redis what is not in the ledger by a majority; acknowledge what it has not finished; drop an event
that it can't use (that is a dead letter); know a quiz's key or the points of a question.
"""
