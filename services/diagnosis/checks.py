"""Checks of processes by the metrics that they report. Each is a fact; a wrong one names its runbook. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from services.diagnosis.process_status import ProcessStatus, largest, largest_by_label, quantile, total

# Bounds beyond which a fact is a finding; the alerts of the same names have the same bounds.
MAX_LAG_SECONDS: Final = 60.0
MAX_PENDING: Final = 10_000
MAX_OVERDUE_SECONDS: Final = 3600.0
MIN_FRESH_RATIO: Final = 0.99
MAX_FAILED_RATIO: Final = 0.001
# So few queries fail in good health: of a client that reads a board while it is built. A submission that fails is looked at.
MAX_ERRORS: Final = 2
MAX_CLOCK_SKEW_SECONDS: Final = 2.0
MAX_UTILIZATION: Final = 0.85
SUBMISSIONS: Final = "submissions"
GRAPHQL: Final = "GraphQL"
NO_RATES: Final[Mapping[str, float]] = MappingProxyType({})
# The names of the samples that the checks read.
SAMPLES: Final = (
    "process_start_time_seconds",
    "topten_action_to_screen_seconds_bucket",
    "topten_action_to_screen_seconds_count",
    "topten_attempt_overdue_seconds",
    "topten_attempts_overdue",
    "topten_board_stale",
    "topten_breaker_state",
    "topten_build_info",
    "topten_consumer_pending",
    "topten_graphql_errors_total",
    "topten_mongo_indexes_missing",
    "topten_outbox_lag_seconds",
    "topten_period_overdue_seconds",
    "topten_room_uncounted_seconds",
    "topten_sse_connections",
    "topten_store_up",
    "topten_store_used_ratio",
    "topten_submissions_total",
    "topten_uncounted_seconds",
    "http_server_request_duration_seconds_count",
)
RUNBOOKS: Final = "docs/operator/operations.md#"
UNCOUNTED: Final = f"{RUNBOOKS}accepted-events-are-not-counted"
ATTEMPTS_OVERDUE: Final = f"{RUNBOOKS}toptenattemptsoverdue"
ATTEMPTS_UNJUDGEABLE: Final = f"{RUNBOOKS}attempts-cannot-be-judged"
STORE_AWAY: Final = f"{RUNBOOKS}toptenstoreaway"


class Check(NamedTuple):
    """A fact about a subject; `runbook` is empty unless the fact is wrong."""

    subject: str
    text: str
    runbook: str = ""


def check(subject: str, text: str, *, wrong: bool, runbook: str) -> Check:
    """Make a check whose runbook is named only if it is wrong."""
    return Check(subject, text, f"{RUNBOOKS}{runbook}" if wrong else "")


def check_process(process: ProcessStatus) -> Check:
    """Check that a process responds, is ready, reaches its stores, and has the right time."""
    runbook = f"{RUNBOOKS}toptenprocessabsent"
    if not process.responds:
        return Check(process.name, "does not respond", runbook)
    text = f"version {process.version}, up {_duration(process.uptime)}"
    if abs(process.clock_skew) > MAX_CLOCK_SKEW_SECONDS:
        return Check(process.name, f"clock is {process.clock_skew:+.0f} s off; {text}", f"{RUNBOOKS}clocks")
    if not process.ready:
        return Check(process.name, f"not ready; {text}", runbook)
    if process.stores_away:
        return Check(process.name, f"ready, but without {', '.join(process.stores_away)}; {text}", STORE_AWAY)
    return Check(process.name, f"ready, {text}")


def check_pipeline(processes: Sequence[ProcessStatus]) -> list[Check]:
    """Check the way of an event from its record to the boards."""
    lag = largest(processes, "topten_outbox_lag_seconds")
    pending = sum(largest_by_label(processes, "topten_consumer_pending", "partition").values())
    uncounted = largest(processes, "topten_uncounted_seconds")
    stale = largest(processes, "topten_board_stale")
    rooms = largest(processes, "topten_room_uncounted_seconds")
    attempts = largest(processes, "topten_attempts_overdue")
    late = largest(processes, "topten_attempt_overdue_seconds")
    overdue = largest(processes, "topten_period_overdue_seconds")
    indexes = largest(processes, "topten_mongo_indexes_missing")
    # A half-open breaker counts as open.
    breakers = [
        name for name, state in largest_by_label(processes, "topten_breaker_state", "upstream").items() if state
    ]
    return [
        check("outbox", f"lag {_duration(lag)}", wrong=lag > MAX_LAG_SECONDS, runbook="toptenoutboxlag"),
        check("stream", f"{pending:,.0f} pending", wrong=pending > MAX_PENDING, runbook="toptenconsumerbehind"),
        check(
            "uncounted events",
            f"oldest accepted {_duration(uncounted)} ago" if uncounted else "none",
            wrong=uncounted > MAX_LAG_SECONDS,
            runbook=UNCOUNTED.removeprefix(RUNBOOKS),
        ),
        check(
            "rooms",
            f"oldest uncounted ended {_duration(rooms)} ago" if rooms else "all counted",
            wrong=rooms > MAX_LAG_SECONDS,
            runbook="toptenroomnotcounted",
        ),
        check(
            "attempts",
            f"{attempts:,.0f} not handed in, the oldest overdue by {_duration(late)}" if attempts else "none overdue",
            wrong=late > MAX_LAG_SECONDS,
            runbook=ATTEMPTS_OVERDUE.removeprefix(RUNBOOKS),
        ),
        check("watched boards", f"{stale:,.0f} stale", wrong=stale > 0, runbook="toptenboardsstale"),
        check(
            "periods",
            f"overdue by {_duration(overdue)}",
            wrong=overdue > MAX_OVERDUE_SECONDS,
            runbook="toptenperiodnotclosing",
        ),
        check("indexes", f"{indexes:.0f} missing", wrong=indexes > 0, runbook="an-index-is-missing"),
        check("breakers", f"open: {', '.join(breakers) or 'none'}", wrong=bool(breakers), runbook="toptenbreakeropen"),
    ]


def totals_of(processes: Sequence[ProcessStatus]) -> dict[str, float]:
    """What players asked for since the processes started: totals by the subjects of `check_players`."""
    return {
        SUBMISSIONS: total(processes, "topten_submissions_total"),
        GRAPHQL: total(processes, "http_server_request_duration_seconds_count", http_route="/graphql"),
    }


def check_players(processes: Sequence[ProcessStatus], rates: Mapping[str, float] = NO_RATES) -> list[Check]:
    """Check what players got since the processes started. `rates` are per second, by subject; unknown ones are not shown."""
    freshness = "topten_action_to_screen_seconds"
    shown = total(processes, f"{freshness}_count")
    fresh = total(processes, f"{freshness}_bucket", le="1.0") / shown if shown else 1.0
    p50, p99 = (quantile(processes, freshness, share) for share in (0.5, 0.99))
    times = "no action yet" if p50 is None or p99 is None else f"p50 {p50:.2f} s, p99 {p99:.2f} s"
    failed = total(processes, "topten_submissions_total", outcome="failed")
    submissions, requests = totals_of(processes).values()
    now = {subject: f", {rate:,.1f} a second now" for subject, rate in rates.items()}
    errors = sum(total(processes, "topten_graphql_errors_total", reason=each) for each in ("UNAVAILABLE", "INTERNAL"))
    return [
        check(
            SUBMISSIONS,
            f"{failed:,.0f} of {submissions:,.0f} failed{now.get(SUBMISSIONS, '')}",
            wrong=failed > MAX_FAILED_RATIO * submissions,
            runbook="toptensubmissions",
        ),
        check(
            GRAPHQL,
            f"{errors:,.0f} errors in {requests:,.0f} responses{now.get(GRAPHQL, '')}",
            wrong=errors > max(MAX_ERRORS, MAX_FAILED_RATIO * requests),
            runbook="toptengraphql",
        ),
        check("action to screen", times, wrong=fresh < MIN_FRESH_RATIO, runbook="toptenfreshness"),
        Check("streams", f"{total(processes, 'topten_sse_connections'):,.0f} open"),
    ]


def check_reach(processes: Sequence[ProcessStatus]) -> list[Check]:
    """Check that every process which uses a store reaches it."""
    users: dict[str, list[str]] = {}
    for process in processes:
        for store in largest_by_label([process], "topten_store_up", "store"):
            users.setdefault(store, []).append(process.name)
    return [
        Check(store, f"not reached by {', '.join(away)}", STORE_AWAY)
        if (away := [process.name for process in processes if store in process.stores_away])
        else Check(store, f"reached by {', '.join(names)}")
        for store, names in sorted(users.items())
    ]


def check_utilization(processes: Sequence[ProcessStatus]) -> list[Check]:
    """Check how full each store is."""
    return [
        check(f"{name} utilization", f"{used:.0%}", wrong=used > MAX_UTILIZATION, runbook="toptenstorefilling")
        for name, used in largest_by_label(processes, "topten_store_used_ratio", "store").items()
    ]


def check_dead_letters(text: str, *, wrong: bool) -> Check:
    """Check that no event is a dead letter."""
    return check("dead letters", text, wrong=wrong, runbook="toptendeadletters")


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
