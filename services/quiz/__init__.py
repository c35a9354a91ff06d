"""Quiz: the entry point of every action that can change a score.

Owns quizzes with their keys, and the record of every submission, and of every void and adjustment, with the event it
leads to.

Guarantees: points come from the quiz's rules and the recorded answers alone; a submission is written to a majority and
the journal before it is answered; one action of a player leads to one submission, one event and one answer, for ever;
no interleaving lets a player have more attempts than the quiz allows; an event that was recorded is published, whatever
dies in between.

Must never: let a key leave the process other than into its own stores; believe a client's clock or points; hold a
player's answer back until the event is published.
"""
