"""Quiz: the entry point of every action that can change a score.

Owns quizzes with their answer keys, and the record of every submission, void and adjustment together with its event.

Guarantees: points follow from the quiz's rules and the recorded answers alone; a submission is written to a majority and
the journal before it is acknowledged; one action of a player has one submission, one event and one response, whenever it
is sent again; no interleaving gives a player more attempts than the quiz allows; a recorded event is published, whichever
process dies in between.

Must never: let an answer key leave the process other than into its own stores, by ExportQuiz and drafts, to the authors of
the quiz and staff, by the feedback that its author allows, and at the reveal of a room; trust a client's clock or points;
delay a response until the event is published.
"""
