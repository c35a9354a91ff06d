"""Authoring: drafts of quizzes, who may change them, publishing, and quiz files that come and go.

`draft.py` is the domain, `service.py` and `exchange.py` the use cases. A draft is a quiz file in Topten's JSON, checked by the
reader of such files (docs/adr/0028-drafts-are-quiz-files.md).

Guarantees: nobody's change is overwritten unseen; what players play changes by publishing alone; a file is stored quiz by
quiz, each whole or not at all. Must never: show a draft to anyone but its authors, admins and services.
"""
