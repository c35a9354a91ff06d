"""A release on the node, by the commands of an operator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.cluster.api import Api, Object
from tests.cluster.control_plane import ControlPlane
from tests.cluster.helm import NAME, Helm4
from tests.cluster.life import LEFT, RESTRICTED
from tests.cluster.processes import run
from tests.cluster.release import Release
from tests.deadline import poll

ROLLOUT: Final = "10m"
SECONDS: Final = 660


class Install:
    """One release in a namespace of its own."""

    def __init__(self, plane: ControlPlane, kubectl: Path, namespace: str) -> None:
        self.namespace = namespace
        self.helm = Helm4(plane.kubeconfig, namespace)
        self._api: Api = plane.api
        self._kubectl = (kubectl, f"--kubeconfig={plane.kubeconfig}", f"--namespace={namespace}")
        metadata = {"name": namespace, "labels": RESTRICTED}
        self._api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        poll(lambda: self._list("serviceaccounts"), "the controllers work")

    def kubectl(self, *arguments: str, given: str = "") -> str:
        """Run kubectl in the namespace and return its output. Raises ProgramError."""
        return run(*self._kubectl, *arguments, given=given, timeout=SECONDS)

    def command(self, *arguments: str, given: str = "") -> str:
        """Run the `topten` command in the operator's pod. Raises ProgramError if it fails."""
        return self.kubectl("exec", "--stdin", "deployment/topten-operator", "--", *arguments, given=given)

    def wait(self, *names: str) -> None:
        """Wait for the rollout of components, by default all with their stores, and for the end of the old pods.

        Raises ProgramError.
        """
        rollouts = [f"deployment/{NAME}-{name}" for name in names]
        for kind in () if names else ("statefulset", "deployment"):
            rollouts += [f"{kind}/{one['metadata']['name']}" for one in self._list(f"{kind}s", "apis/apps/v1")]
        for rollout in rollouts:
            self.kubectl("rollout", "status", rollout, f"--timeout={ROLLOUT}")
        poll(lambda: not self._ending(), "old pods have ended")

    def restart(self, *names: str) -> None:
        """Replace the pods of components one by one, all components at the same time."""
        self.kubectl("rollout", "restart", *(f"deployment/{NAME}-{name}" for name in names))
        self.wait(*names)

    def pods(self) -> dict[str, Object]:
        """The pods that serve, by name."""
        return {
            one["metadata"]["name"]: one
            for one in self._list("pods")
            if one["status"]["phase"] == "Running" and "deletionTimestamp" not in one["metadata"]
        }

    def _ending(self) -> bool:
        return any("deletionTimestamp" in one["metadata"] for one in self._list("pods"))

    def containers(self, component: str) -> list[str]:
        """The IDs of the running containers of a component."""
        return [
            status["containerID"]
            for one in self.pods().values()
            if one["metadata"]["labels"].get("app.kubernetes.io/component") == component
            for status in one["status"].get("containerStatuses", [])
            if status["ready"]
        ]

    def address(self) -> str:
        """The address of the edge in this cluster."""
        (service,) = (one for one in self._list("services") if one["metadata"]["name"] == f"{NAME}-edge")
        return f"http://{service['spec']['clusterIP']}:8080"

    def uninstall(self) -> set[str]:
        """Remove the release, and return what stays in the namespace when all pods have ended."""
        self.helm.uninstall()
        release = Release(self._api, self.namespace)
        poll(lambda: not self._list("pods") and release.names() <= LEFT, f"only {sorted(LEFT)} stay")
        return release.names()

    def state(self) -> str:
        """What an operator would look at first, for a failure's report."""
        return self.kubectl("get", "pods", "--output=wide") + self.kubectl(
            "get", "events", "--field-selector=type=Warning"
        )

    def values(self, changed: Mapping[str, Any]) -> dict[str, Any]:
        """Values of an install with an operator's pod."""
        return {"operator": {"enabled": True}, **changed}

    def _list(self, collection: str, group: str = "api/v1") -> list[Object]:
        return self._api.items(f"/{group}/namespaces/{self.namespace}/{collection}")
