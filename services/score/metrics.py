"""What the score process counts. No label grows with players, quizzes or boards."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from services.runtime.telemetry import LATENCY_BUCKETS

PENDING = Gauge("topten_consumer_pending", "Events that are stored and not counted yet", ["partition"])
REDELIVERIES = Counter("topten_redeliveries_total", "Events that were delivered again")
DEAD_LETTERS = Counter("topten_dead_letters_total", "Events that can't be counted as they are")
_EVENTS = Counter("topten_events_counted_total", "Events that went all the way, by whether they were new", ["event"])
COUNTED_NEW = _EVENTS.labels("new")
COUNTED_AGAIN = _EVENTS.labels("again")
BATCH_SECONDS = Histogram(
    "topten_score_batch_seconds", "From a batch's first look at the ledger to its last ack", buckets=LATENCY_BUCKETS
)
CONFLICTS = Counter("topten_ledger_conflicts_total", "Rows that another worker's row came before")
FOLDS_WRITTEN = Counter("topten_folds_written_total", "Players' standings that were written behind the ledger")
REBUILD_SECONDS = Histogram(
    "topten_board_rebuild_seconds",
    "Time to make all boards anew",
    buckets=(0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
PERIOD_OVERDUE = Gauge(
    "topten_period_overdue_seconds",
    "For how long this process has seen a week or month open that could have been closed",
)
STORE_USED = Gauge(
    "topten_store_used_ratio", "How full a store is, 0 to 1, as far as it has a bound and says so", ["store"]
)
FLAGS = Counter("topten_flags_total", "Suspicions that the rules of fair play raised", ["rule"])
RULE_FAILURES = Counter("topten_rule_failures_total", "Batches that the rules of fair play could not judge")
