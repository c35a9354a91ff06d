"""The metrics of attempts."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

attempts_total = Counter(
    "topten_attempts_total",
    "Attempts that players started (started), and that the server handed in at the end of their time (time_up)",
    ["event"],
)
attempts_started, attempts_timed_out = (attempts_total.labels(event) for event in ("started", "time_up"))
overdue_attempts = Gauge("topten_attempts_overdue", "Attempts whose time is up, and that are not handed in yet")
overdue_seconds = Gauge(
    "topten_attempt_overdue_seconds",
    "Time since the end of the oldest attempt that is not handed in although its time is up; 0 if none",
)
