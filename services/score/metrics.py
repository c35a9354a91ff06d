"""The metrics of the score process. No label grows with players, quizzes or boards."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from services.runtime.telemetry.logging import LATENCY_BUCKETS

PENDING = Gauge("topten_consumer_pending", "Events on the stream that are not counted yet.", ["partition"])
REDELIVERIES = Counter("topten_redeliveries_total", "Events delivered more than once.")
RECONCILED = Counter(
    "topten_reconciled_events_total", "Recorded events that were lost on the way and were published again."
)
UNRECORDED = Counter(
    "topten_unrecorded_events_total",
    "Events not counted, because a restore lost their record and another one took its place.",
)
UNCOUNTED_SECONDS = Gauge(
    "topten_uncounted_seconds", "Age of the oldest recorded event that is not counted, at the last comparison."
)
DEAD_LETTERS = Counter("topten_dead_letters_total", "Events stored as dead letters.")
_EVENTS = Counter("topten_events_counted_total", "Events counted, by whether they were new.", ["event"])
COUNTED_NEW = _EVENTS.labels("new")
COUNTED_AGAIN = _EVENTS.labels("again")
BATCH_SECONDS = Histogram(
    "topten_score_batch_seconds", "Time to count a batch, without its acknowledgement.", buckets=LATENCY_BUCKETS
)
CONFLICTS = Counter("topten_ledger_conflicts_total", "Players that another worker was counting at the same time.")
FOLDS_WRITTEN = Counter("topten_folds_written_total", "Folds of players written behind the ledger.")
REBUILD_SECONDS = Histogram(
    "topten_board_rebuild_seconds",
    "Time to rebuild all boards.",
    buckets=(0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
BOARDS_BUILDING = Gauge("topten_boards_building", "Defined boards that are not complete yet.")
PERIOD_OVERDUE = Gauge(
    "topten_period_overdue_seconds",
    "How long this process has seen a week or month open that should have been closed.",
)
STORE_USED = Gauge(
    "topten_store_used_ratio", "Used part of a store's limit, 0 to 1, where a limit is known.", ["store"]
)
WEBHOOK_ATTEMPTS = Counter(
    "topten_webhook_deliveries_total",
    "Attempts to deliver to webhooks: delivered, failed and to be retried, or dead, which is not retried.",
    ["result"],
)
WEBHOOK_OLDEST = Gauge(
    "topten_webhook_oldest_waiting_seconds", "Age of the oldest webhook delivery that no receiver has accepted yet."
)
FLAGS = Counter("topten_flags_total", "Flags raised by the rules of fair play.", ["rule"])
RULE_FAILURES = Counter("topten_rule_failures_total", "Batches that the rules of fair play failed to judge.")
