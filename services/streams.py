"""Names that producers and consumers of events share: stream, subjects, durables, channels and event types.

Events that change a standing are published on one JetStream stream; changed boards are announced on one Redis Pub/Sub
channel.
"""

from __future__ import annotations

from typing import Final

QUIZ_STREAM: Final = "QUIZ_EVENTS"
"""The work-queue stream of all events that change a standing."""

QUIZ_SUBJECT: Final = "quiz.events"
"""Events are published under `quiz.events.<user id>` and stored under `quiz.events.<partition>.<user id>`."""

GROUP_SUFFIX: Final = "group"
"""Events of one partition that share a message are stored under `quiz.events.<partition>.group`."""

READS_KEY: Final = "reads"
READS_GROUPS: Final = "groups"
"""The metadata of a durable consumer whose workers read groups of events."""

SCORE_DURABLE: Final = "score"
"""The durable consumer of the score service; with partitions `score-0`, `score-1`, ..."""

SCORE_CHANNEL: Final = "score.events"
"""The Redis channel that carries `ScoreUpdatedBatch`."""

# The values of `eventType`.
EVENT_GROUP: Final = "EVENT_GROUP"
QUIZ_COMPLETED: Final = "QUIZ_COMPLETED"
ACTION_COMPLETED: Final = "ACTION_COMPLETED"
ACTION_VOIDED: Final = "ACTION_VOIDED"
ACTION_REJUDGED: Final = "ACTION_REJUDGED"
SCORE_ADJUSTED: Final = "SCORE_ADJUSTED"
PLAYER_BLOCKED: Final = "PLAYER_BLOCKED"
PLAYER_UNBLOCKED: Final = "PLAYER_UNBLOCKED"
COUNTRY_CHANGED: Final = "COUNTRY_CHANGED"
PROFILE_CHANGED: Final = "PROFILE_CHANGED"
PLAYER_ERASED: Final = "PLAYER_ERASED"
SCORE_UPDATED: Final = "SCORE_UPDATED"

# Kinds of ledger rows that no event causes: a repair of a chain with a gap writes them.
CHAIN_SEALED: Final = "CHAIN_SEALED"
CHAIN_CORRECTED: Final = "CHAIN_CORRECTED"

# The kind of ledger rows that give a player the counters of new boards. No event causes them either.
COUNTERS_ADDED: Final = "COUNTERS_ADDED"
