"""Authoring: drafts of quizzes, their authors, publishing, and the import and export of quiz files.

`draft.py` is the domain, `service.py` and `exchange.py` the use cases. A draft is a quiz file in Topten's JSON, checked by the
reader of such files (docs/adr/0028-drafts-are-quiz-files.md).

Guarantees: no author overwrites a change that they have not seen; only publishing changes what players see; each quiz of a
file is stored completely or not at all. Must never: show a draft to anyone but its authors, admins and services.
"""
