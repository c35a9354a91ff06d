"""One release in a namespace of its own, by Helm 4 as a library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from helm_python import Config

from tests.cluster.api import Api, Object

NAME: Final = "topten"
HELM_SECONDS: Final = 180
# The kinds that the chart creates.
COLLECTIONS: Final = {
    "api/v1": ("configmaps", "persistentvolumeclaims", "secrets", "serviceaccounts", "services"),
    "apis/apps/v1": ("deployments", "statefulsets"),
    "apis/autoscaling/v2": ("horizontalpodautoscalers",),
    "apis/batch/v1": ("cronjobs", "jobs"),
    "apis/gateway.networking.k8s.io/v1": ("grpcroutes", "httproutes"),
    "apis/keda.sh/v1alpha1": ("scaledobjects",),
    "apis/monitoring.coreos.com/v1": ("prometheusrules", "servicemonitors"),
    "apis/networking.k8s.io/v1": ("ingresses", "networkpolicies"),
    "apis/policy/v1": ("poddisruptionbudgets",),
}


class Release:
    """Installs, upgrades, rolls back and removes. Raises HelmError."""

    def __init__(self, api: Api, kubeconfig: Path, namespace: str) -> None:
        self.namespace = namespace
        self._api = api
        self._helm = Config(kubeconfig_path=kubeconfig, namespace=namespace)

    def install(self, chart: Path, values: Mapping[str, Any]) -> None:
        """Install; hooks are awaited."""
        self._helm.install(chart, NAME, dict(values), namespace=self.namespace, timeout=HELM_SECONDS)

    def upgrade(self, chart: Path, values: Mapping[str, Any]) -> None:
        """Upgrade to a chart with exactly these values."""
        self._helm.upgrade(chart, NAME, dict(values), namespace=self.namespace, timeout=HELM_SECONDS, reset_values=True)

    def roll_back(self, revision: int) -> None:
        """Go back to a revision."""
        self._helm.rollback(NAME, version=revision, timeout=HELM_SECONDS)

    def uninstall(self) -> None:
        """Remove the release."""
        self._helm.uninstall(NAME, timeout=HELM_SECONDS)

    def objects(self, collection: str) -> list[Object]:
        """The objects of a collection such as `jobs` in the namespace of the release."""
        group = next(group for group, names in COLLECTIONS.items() if collection in names)
        return self._api.items(f"/{group}/namespaces/{self.namespace}/{collection}")

    def names(self) -> set[str]:
        """Everything in the namespace as `collection/name`, without Helm's records and the account of the namespace."""
        return {
            f"{collection}/{one['metadata']['name']}"
            for names in COLLECTIONS.values()
            for collection in names
            for one in self.objects(collection)
            if one.get("type") != "helm.sh/release.v1" and one["metadata"]["name"] != "default"
        }
