"""The default install is a working system: commands, environment, files and its own `helm test`.

Slow: three stores and five processes start one after another, as in a cluster.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helm.cluster import Cluster
from tests.helm.image import Stage
from tests.helm.rendering import render

pytestmark = pytest.mark.slow
STORES = ("mongo", "bootstrap-mongo", "redis", "nats")
PROCESSES = ("identity", "quiz", "score", "leaderboard", "edge")


@pytest.fixture(scope="module")
def cluster(image: Stage) -> Iterator[Cluster]:
    """The default install and the operator's pod, running from what the image holds."""
    folder = Path(tempfile.mkdtemp(prefix="topten-trial-"))
    made = Cluster(render({"operator": {"enabled": True}}), folder, image.root / "opt" / "topten" / "bin")
    try:
        with made.running(*STORES, *PROCESSES):
            # The Jobs start together with everything else and wait for it.
            made.containers["setup"].run()
            for name in PROCESSES:
                made.containers[name].wait_until_started()
            made.containers["samples"].run()
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_helm_test_passes(cluster: Cluster) -> None:
    output = cluster.containers["check"].run()
    assert "on the live board after" in output


def test_setup_jobs_are_idempotent(cluster: Cluster) -> None:
    assert "are ready" in cluster.containers["setup"].run()
    assert "unchanged" in cluster.containers["samples"].run()


def test_the_operator_pod_runs_doctor_and_verify(cluster: Cluster) -> None:
    operator = cluster.containers["operator"]
    operator.argv = ["topten", "doctor"]
    assert "processes" in operator.run()
    operator.argv = ["topten", "verify", "--patience", "0"]
    assert "no differences" in operator.run()


def test_a_process_stops_in_order_within_its_grace(cluster: Cluster) -> None:
    edge = cluster.containers["edge"]
    assert edge.stop() == 0
    edge.start()
    edge.wait_until_started()
