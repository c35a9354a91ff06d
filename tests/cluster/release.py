"""One release in a namespace of its own, and what the API server has of it."""

from __future__ import annotations

from typing import Final

from tests.cluster.api import Api, Object

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
_EVERYWHERE: Final = ("default", "kube-root-ca.crt")


class Release:
    """Reads the objects of a namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.namespace = namespace
        self._api = api

    def objects(self, collection: str) -> list[Object]:
        """The objects of a collection such as `jobs` in the namespace of the release."""
        group = next(group for group, names in COLLECTIONS.items() if collection in names)
        return self._api.items(f"/{group}/namespaces/{self.namespace}/{collection}")

    def names(self) -> set[str]:
        """Everything in the namespace as `collection/name`, without Helm's records and what every namespace has."""
        return {
            f"{collection}/{one['metadata']['name']}"
            for names in COLLECTIONS.values()
            for collection in names
            for one in self.objects(collection)
            if one.get("type") != "helm.sh/release.v1" and one["metadata"]["name"] not in _EVERYWHERE
        }
