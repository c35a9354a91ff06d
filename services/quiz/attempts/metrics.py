"""The metric of attempts."""

from __future__ import annotations

from prometheus_client import Counter

attempts_total = Counter(
    "topten_attempts_total",
    "Attempts that players started (started), and that the server handed in at the end of their time (time_up)",
    ["event"],
)
attempts_started, attempts_timed_out = (attempts_total.labels(event) for event in ("started", "time_up"))
