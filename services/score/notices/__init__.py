"""What players are told of changes of their score that others made: actions judged again or voided, and adjustments.

A notice is a ledger row that the player has not seen. Nothing is stored for each notice, and nothing is written while quizzes
are judged again: one number for each player who has seen any says up to which revision. It is here, and not with the account,
because a revision means something only beside its ledger, and because players of other issuers have no account; the edge
stays without a state.
"""
