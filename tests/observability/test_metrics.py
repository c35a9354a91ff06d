"""Every promised metric exists, moves with what it counts, and has few series."""

from __future__ import annotations

import pytest

from services.cli.system.client import GraphqlClient
from tests.contract.metrics import PROCESSES, registered
from tests.deadline import deadline
from tests.observability.scenario import Scenario, play_round
from tests.observability.scrapes import Scrape, scrape
from tests.players import endpoints
from tests.servers import RunningStack

# Promised names, with a label where that is promised as well.
PROMISED = (
    "topten_action_to_screen_seconds",
    "topten_actions_accepted_total",
    "topten_auth_failures_total{reason}",
    "topten_board_stale",
    "topten_breaker_state{upstream}",
    "topten_consumer_pending",
    "topten_dead_letters_total",
    "topten_flags_total{rule}",
    "topten_ledger_conflicts_total",
    "topten_outbox_lag_seconds",
    "topten_quiz_cache_total{result}",
    "topten_rate_limited_total{operation}",
    "topten_redeliveries_total",
    "topten_sse_connections",
    "topten_sse_dropped_total{reason}",
)
GREW = """topten_action_to_screen_seconds_count topten_actions_accepted_total topten_auth_failures_total
topten_dead_letters_total topten_flags_total topten_ledger_conflicts_total topten_quiz_cache_total
topten_rate_limited_total topten_redeliveries_total topten_sse_dropped_total topten_submissions_total
topten_graphql_errors_total topten_events_counted_total topten_score_batch_seconds_count topten_folds_written_total
http_server_request_duration_seconds_count grpc_server_started_total grpc_server_handled_total
grpc_server_handling_seconds_count process_cpu_seconds_total""".split()


def test_every_promised_metric_is_registered() -> None:
    names = {family.name: set(family.labels) for family in registered()}
    for promised in PROMISED:
        name, _, label = promised.rstrip("}").partition("{")
        assert name in names, promised
        assert not label or label in names[name], promised


@pytest.mark.parametrize("name", GREW)
def test_counter_grows_in_the_scenario(scenario: Scenario, name: str) -> None:
    before = sum(scenario.start.values_of(name))
    assert scenario.end.total(name) > before


def test_gauges_follow_a_fault_and_return_to_zero(scenario: Scenario) -> None:
    assert scenario.played.total("topten_sse_connections") >= 1
    assert scenario.during["redis"].total("topten_board_stale") >= 1
    assert scenario.during["nats"].total("topten_outbox_lag_seconds") > 1
    for name in ("topten_board_stale", "topten_outbox_lag_seconds", "topten_consumer_pending"):
        assert scenario.end.total(name) == 0
    assert scenario.end.total("topten_period_overdue_seconds") == 0


def test_every_process_reports_its_build_and_resources(scenario: Scenario) -> None:
    for process in PROCESSES:
        assert scenario.end.total("topten_build_info", job=process, service=process) == 1
        assert scenario.end.total("process_resident_memory_bytes", job=process) > 1e6
        assert scenario.end.total("process_cpu_seconds_total", job=process) > 0


def test_unavailable_store_is_reported_by_its_users_and_takes_no_process_out_of_service(scenario: Scenario) -> None:
    """A process without its stores is still useful: see faults/test_away.py."""
    users = {
        "mongo": {"identity", "quiz", "score", "leaderboard"},
        "redis": {"quiz", "score", "leaderboard", "edge"},
        "nats": {"identity", "quiz", "score"},
    }
    for store, processes in users.items():
        for process in PROCESSES:
            expected = [1.0] if process in processes else []
            assert list(scenario.end.values_of("topten_store_up", job=process, store=store)) == expected
            assert list(scenario.during[store].values_of("topten_store_up", job=process, store=store)) == [
                0.0 for _ in expected
            ]
        assert scenario.ready[store] == dict.fromkeys(PROCESSES, 200)


def test_connections_to_each_store_are_counted(scenario: Scenario) -> None:
    stores = {"identity": ["mongo", "nats"], "quiz": ["mongo", "redis", "nats"], "score": ["mongo", "redis", "nats"]}
    for process, names in stores.items():
        for store in names:
            assert scenario.end.total("topten_store_connections", job=process, store=store) >= 1
    assert scenario.during["nats"].total("topten_store_connections", job="score", store="mongo") >= 1
    assert 0 < scenario.end.total("topten_store_used_ratio", store="mongo") < 1
    assert 0 <= scenario.end.total("topten_store_used_ratio", store="nats") < 1


async def test_more_players_and_unknown_requests_create_no_series(scenario: Scenario, observed: RunningStack) -> None:
    """A busy machine may see a call fail for the first time in a round; no cause makes every round create series."""
    assert scenario.played  # played after all faults
    async with GraphqlClient(endpoints(observed).graphql) as client, deadline("a round creates no series"):
        await play_round(observed, client)
        created = True
        while created:
            before = await scrape(observed)
            await play_round(observed, client)
            created = not _shape(await scrape(observed)) <= _shape(before)


def _shape(scraped: Scrape) -> set[str]:
    return {series.text for series in scraped}
