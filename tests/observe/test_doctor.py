"""`topten doctor`: one screen that says what is wrong, and where it stands what to do."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.local.checkup import MOST_SKEW_SECONDS, of_process
from services.local.cli import app
from services.local.said import Said, quantile
from services.local.stack import wait_for_edge
from tests.observe.scrapes import eventually
from tests.observe.story import Story, doctor, stopped
from tests.servers import RunningStack, free_port

OPERATIONS = Path(__file__).parents[2] / "docs/operations.md"
ANCHORS = {
    re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
    for heading in re.findall(r"^#+ (.+)$", OPERATIONS.read_text(), re.MULTILINE)
}


def examined(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What it says; every runbook that it names must be there."""
    done = doctor(*arguments)
    named = re.findall(r"docs/operations\.md#(\S+)", done.stdout)
    assert set(named) <= ANCHORS
    assert bool(named) == (done.returncode == 1), done.stdout + done.stderr
    return done


def wrong(done: subprocess.CompletedProcess[str]) -> set[str]:
    """What it finds fault with."""
    return {line.split("  wrong")[0].strip() for line in done.stdout.splitlines() if " wrong " in line}


@pytest.fixture
async def mended(story: Story, observed: RunningStack) -> RunningStack:
    """The system after its story: whole, but for what was counted meanwhile."""
    await eventually(observed, lambda now: not now.total("topten_board_stale"))
    # A service that stood still is called again only when its breaker has closed.
    await wait_for_edge(observed.http)
    assert story.end
    return observed


async def test_a_system_that_is_well_is_said_to_be(story: Story) -> None:
    assert (story.doctor.returncode, wrong(story.doctor)) == (0, set()), story.doctor.stdout + story.doctor.stderr
    assert len(re.findall(r" ok ", story.doctor.stdout)) > 20


async def test_it_shows_every_process_and_store_and_what_was_wrong(mended: RunningStack) -> None:
    done = examined("--data", str(mended.data))
    for name in ("identity", "quiz", "score", "leaderboard", "edge"):
        assert re.search(rf"^  {name} +ok +ready, version \S+, up ", done.stdout, re.MULTILINE), done.stdout
    for name in ("mongo", "redis", "nats"):
        assert re.search(rf"^  {name} +ok +answers, and keeps what it acknowledges", done.stdout, re.MULTILINE)
    assert re.search(r"boards +ok +generation \d+", done.stdout)
    assert re.search(r"to the screen +\w+ +p50 \d", done.stdout)
    assert len(done.stdout.splitlines()) <= 45, "one screen"
    # Its players had a hard time, and somebody published garbage.
    assert done.returncode == 1
    assert {"dead letters", "submissions"} <= wrong(done)
    assert not wrong(done) - {"dead letters", "submissions", "GraphQL", "to the screen"}


async def test_a_store_that_stands_still_is_named(mended: RunningStack) -> None:
    with stopped(mended, "redis"):
        await eventually(mended, lambda now: any(now.values_of("topten_build_info")))
        done = examined("--data", str(mended.data))
    assert done.returncode == 1
    assert "redis" in wrong(done)
    assert re.search(r"redis +wrong +does not answer", done.stdout)


async def test_a_service_that_does_not_answer_is_named(mended: RunningStack) -> None:
    with stopped(mended, "leaderboard"):
        done = examined("--data", str(mended.data))
    assert done.returncode == 1
    assert re.search(r"leaderboard +wrong +does not answer", done.stdout)
    assert re.search(r"127\.0\.0\.1:\d+ +wrong +not ready: .*leaderboard", done.stdout)


async def test_a_system_elsewhere_is_asked_over_the_network_alone(mended: RunningStack, tmp_path: Path) -> None:
    done = examined("--url", mended.http, "--data", str(tmp_path))
    assert (done.returncode, "everything behind it serves" in done.stdout) == (0, True), done.stdout
    metrics = [part for url in mended.endpoints["metrics"].values() for part in ("--metrics", url)]
    done = examined("--url", mended.http, *metrics, "--data", str(tmp_path))
    assert len(re.findall(r"ok +ready, version", done.stdout)) == 5
    assert "dead letters" in wrong(done)


def test_where_nothing_listens_is_a_finding_and_nothing_to_ask_is_not(tmp_path: Path) -> None:
    nowhere = examined("--url", f"http://127.0.0.1:{free_port()}")
    assert (nowhere.returncode, "does not answer" in nowhere.stdout) == (1, True)
    for arguments in (["--data", str(tmp_path)], ["--url", "banana"], ["--metrics", "http://127.0.0.1:1/metrics"]):
        assert CliRunner().invoke(app, ["doctor", *arguments]).exit_code == 2


def test_a_clock_that_is_off_is_a_finding() -> None:
    samples = {("process_start_time_seconds", frozenset[tuple[str, str]]()): 1.0}
    assert of_process(Said("quiz", samples, ready=True, skew=MOST_SKEW_SECONDS - 0.1)).runbook == ""
    assert of_process(Said("quiz", samples, ready=True, skew=-7)).runbook == "docs/operations.md#clocks"


def test_a_quantile_is_what_prometheus_estimates() -> None:
    counts = {"0.1": 50.0, "1.0": 90.0, "+Inf": 100.0}
    said = [Said("edge", {("t_bucket", frozenset({("le", edge)})): count for edge, count in counts.items()})]
    assert quantile(said, "t", 0.5) == pytest.approx(0.1)
    assert quantile(said, "t", 0.7) == pytest.approx(0.55)
    assert quantile(said, "t", 0.99) == 1.0
    assert quantile(said, "none", 0.5) is None
