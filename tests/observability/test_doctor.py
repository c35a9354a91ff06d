"""`topten doctor`: one screen that names what is wrong and the runbook for it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli.app import app
from services.cli.system.client import GraphqlClient
from services.diagnosis.checks import MAX_CLOCK_SKEW_SECONDS, check_process
from services.diagnosis.process_status import ProcessStatus, quantile
from services.embedded.stack import wait_for_edge
from tests.deadline import deadline
from tests.observability.scenario import Scenario, doctor, play_round, stopped
from tests.observability.scrapes import eventually, scrape
from tests.players import endpoints
from tests.servers import RunningStack, free_port

OPERATIONS = Path(__file__).parents[2] / "docs/operator/operations.md"
ANCHORS = {
    re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
    for heading in re.findall(r"^#+ (.+)$", OPERATIONS.read_text(), re.MULTILINE)
}


def run_doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command; every runbook that it names must exist."""
    done = doctor(*arguments)
    runbooks = re.findall(r"docs/operator/operations\.md#(\S+)", done.stdout)
    assert set(runbooks) <= ANCHORS
    assert bool(runbooks) == (done.returncode == 1), done.stdout + done.stderr
    return done


def findings(done: subprocess.CompletedProcess[str]) -> set[str]:
    """The subjects of the findings."""
    return {line.split("  wrong")[0].strip() for line in done.stdout.splitlines() if " wrong " in line}


@pytest.fixture
async def recovered(scenario: Scenario, observed: RunningStack) -> RunningStack:
    """The system after its scenario: healthy, except for what was counted during it."""
    await eventually(
        observed, lambda now: not now.total("topten_board_stale") and all(now.values_of("topten_store_up"))
    )
    # A service that was stopped is called again only when its breaker has closed.
    await wait_for_edge(observed.http)
    async with GraphqlClient(endpoints(observed).graphql) as client, deadline("every breaker is closed"):
        # Those between services close with a call, too.
        while any((await scrape(observed)).values_of("topten_breaker_state")):
            await play_round(observed, client)
    assert scenario.end
    return observed


async def test_a_healthy_system_has_no_findings(scenario: Scenario) -> None:
    assert (scenario.doctor.returncode, findings(scenario.doctor)) == (0, set()), (
        scenario.doctor.stdout + scenario.doctor.stderr
    )
    assert len(re.findall(r" ok ", scenario.doctor.stdout)) > 20


async def test_every_process_and_store_is_shown_with_what_went_wrong(recovered: RunningStack) -> None:
    done = run_doctor("--data", str(recovered.data))
    for name in ("identity", "quiz", "score", "leaderboard", "edge"):
        assert re.search(rf"^  {name} +ok +ready, version \S+, up ", done.stdout, re.MULTILINE), done.stdout
    for name in ("mongo", "redis", "nats"):
        assert re.search(rf"^  {name} +ok +responds, durable", done.stdout, re.MULTILINE)
    assert re.search(r"boards +ok +generation \d+", done.stdout)
    assert re.search(r"action to screen +\w+ +p50 \d", done.stdout)
    assert len(done.stdout.splitlines()) <= 45, "one screen"
    # The scenario made submissions fail and published an unreadable event.
    assert done.returncode == 1
    assert {"dead letters", "submissions"} <= findings(done)
    assert not findings(done) - {"dead letters", "submissions", "GraphQL", "action to screen"}


async def test_a_stopped_store_is_a_finding(recovered: RunningStack) -> None:
    with stopped(recovered, "redis"):
        await eventually(recovered, lambda now: any(now.values_of("topten_build_info")))
        done = run_doctor("--data", str(recovered.data))
    assert done.returncode == 1
    assert "redis" in findings(done)
    assert re.search(r"redis +wrong +does not respond", done.stdout)


async def test_a_stopped_service_is_a_finding_of_its_own_and_of_the_edge(recovered: RunningStack) -> None:
    with stopped(recovered, "leaderboard"):
        done = run_doctor("--data", str(recovered.data))
    assert done.returncode == 1
    assert re.search(r"leaderboard +wrong +does not respond", done.stdout)
    assert re.search(r"127\.0\.0\.1:\d+ +wrong +not ready: .*leaderboard", done.stdout)


async def test_a_remote_system_needs_no_data_folder(recovered: RunningStack, tmp_path: Path) -> None:
    done = run_doctor("--url", recovered.http, "--data", str(tmp_path))
    assert (done.returncode, "with every service behind it" in done.stdout) == (0, True), done.stdout
    metrics = [part for url in recovered.endpoints["metrics"].values() for part in ("--metrics", url)]
    done = run_doctor("--url", recovered.http, *metrics, "--data", str(tmp_path))
    assert len(re.findall(r"ok +ready, version", done.stdout)) == 5
    assert "dead letters" in findings(done)


def test_an_address_without_a_server_is_a_finding_and_wrong_usage_is_not(tmp_path: Path) -> None:
    nowhere = run_doctor("--url", f"http://127.0.0.1:{free_port()}")
    assert (nowhere.returncode, "does not respond" in nowhere.stdout) == (1, True)
    for arguments in (["--data", str(tmp_path)], ["--url", "banana"], ["--metrics", "http://127.0.0.1:1/metrics"]):
        assert CliRunner().invoke(app, ["doctor", *arguments]).exit_code == 2


def test_clock_skew_is_a_finding() -> None:
    samples = {("process_start_time_seconds", frozenset[tuple[str, str]]()): 1.0}
    close = ProcessStatus("quiz", samples, ready=True, clock_skew=MAX_CLOCK_SKEW_SECONDS - 0.1)
    assert check_process(close).runbook == ""
    assert check_process(replace(close, clock_skew=-7)).runbook.endswith("#clocks")


def test_quantile_equals_the_estimate_of_prometheus() -> None:
    counts = {"0.1": 50.0, "1.0": 90.0, "+Inf": 100.0}
    statuses = [
        ProcessStatus("edge", {("t_bucket", frozenset({("le", edge)})): count for edge, count in counts.items()})
    ]
    assert quantile(statuses, "t", 0.5) == pytest.approx(0.1)
    assert quantile(statuses, "t", 0.7) == pytest.approx(0.55)
    assert quantile(statuses, "t", 0.99) == 1.0
    assert quantile(statuses, "none", 0.5) is None
