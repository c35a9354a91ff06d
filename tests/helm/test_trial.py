"""What `helm install` starts is a system that works: its commands, its environment, its files, and its own `helm test`.

Slow, since three stores and five processes start one after another, as a cluster starts them.
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
STORES = ("mongo", "found", "redis", "nats")
PROCESSES = ("identity", "quiz", "score", "leaderboard", "edge")


@pytest.fixture(scope="module")
def cluster(image: Stage) -> Iterator[Cluster]:
    """The default install and the operator's pod, running from what the image holds."""
    folder = Path(tempfile.mkdtemp(prefix="topten-trial-"))
    made = Cluster(render({"operator": {"enabled": True}}), folder, image.root / "opt" / "topten" / "bin")
    try:
        with made.running(*STORES, *PROCESSES):
            # The Jobs are started with everything else, and wait as everything else does.
            made.containers["setup"].run()
            for name in PROCESSES:
                made.containers[name].wait_until_started()
            made.containers["samples"].run()
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_helm_test_passes(cluster: Cluster) -> None:
    said = cluster.containers["check"].run()
    assert "on the live board after" in said


def test_the_setup_may_run_again(cluster: Cluster) -> None:
    assert "are there" in cluster.containers["setup"].run()
    assert "unchanged" in cluster.containers["samples"].run()


def test_the_operators_pod_can_look_after_it(cluster: Cluster) -> None:
    operator = cluster.containers["operator"]
    operator.argv = ["topten", "doctor"]
    assert "processes" in operator.run()
    operator.argv = ["topten", "verify", "--patience", "0"]
    assert "all as the ledger says" in operator.run()


def test_a_process_told_to_stop_leaves_within_its_grace_and_in_order(cluster: Cluster) -> None:
    edge = cluster.containers["edge"]
    assert edge.stop() == 0
    edge.start()
    edge.wait_until_started()
