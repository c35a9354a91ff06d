"""Every metric that is promised is there, moves when what it counts happens, and has few series."""

from __future__ import annotations

import pytest

from services.local.client import GraphqlClient
from tests.contract.metrics import PROCESSES, registered
from tests.observe.scrapes import Scrape, scrape
from tests.observe.story import Story, wave
from tests.players import endpoints
from tests.servers import RunningStack

# Promised by name, with a label where that is promised too.
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
def test_it_counts_what_happens(story: Story, name: str) -> None:
    before = sum(story.start.values_of(name))
    assert story.end.total(name) > before


def test_gauges_follow_what_is_wrong_and_come_back(story: Story) -> None:
    assert story.played.total("topten_sse_connections") >= 1
    assert story.during["redis"].total("topten_board_stale") >= 1
    assert story.during["nats"].total("topten_outbox_lag_seconds") > 1
    for name in ("topten_board_stale", "topten_outbox_lag_seconds", "topten_consumer_pending"):
        assert story.end.total(name) == 0
    assert story.end.total("topten_period_overdue_seconds") == 0


def test_every_process_says_what_it_is_and_what_it_uses(story: Story) -> None:
    for process in PROCESSES:
        assert story.end.total("topten_build_info", job=process, service=process) == 1
        assert story.end.total("process_resident_memory_bytes", job=process) > 1e6
        assert story.end.total("process_cpu_seconds_total", job=process) > 0


def test_each_store_is_watched_by_whoever_has_it_and_takes_nobody_out_of_service(story: Story) -> None:
    """What a process does without its stores is worth its place: see faults/test_away.py."""
    has = {
        "mongo": {"identity", "quiz", "score", "leaderboard"},
        "redis": {"quiz", "score", "leaderboard", "edge"},
        "nats": {"identity", "quiz", "score"},
    }
    for store, processes in has.items():
        for process in PROCESSES:
            expected = [1.0] if process in processes else []
            assert list(story.end.values_of("topten_store_up", job=process, store=store)) == expected
            assert list(story.during[store].values_of("topten_store_up", job=process, store=store)) == [
                0.0 for _ in expected
            ]
        assert story.ready[store] == dict.fromkeys(PROCESSES, 200)


def test_connections_to_each_store_are_counted(story: Story) -> None:
    stores = {"identity": ["mongo", "nats"], "quiz": ["mongo", "redis", "nats"], "score": ["mongo", "redis", "nats"]}
    for process, names in stores.items():
        for store in names:
            assert story.end.total("topten_store_connections", job=process, store=store) >= 1
    assert story.during["nats"].total("topten_store_connections", job="score", store="mongo") >= 1
    assert 0 < story.end.total("topten_store_used_ratio", store="mongo") < 1
    assert 0 <= story.end.total("topten_store_used_ratio", store="nats") < 1


async def test_more_players_and_strange_requests_make_no_new_series(story: Story, observed: RunningStack) -> None:
    async with GraphqlClient(endpoints(observed).graphql) as client:
        await wave(observed, client)
        before = await scrape(observed)
        await wave(observed, client)
    assert _shape(await scrape(observed)) == _shape(before)
    assert story.played  # the waves came after play and faults


def _shape(found: Scrape) -> set[str]:
    return {series.text for series in found}
