"""The life of a release, step by step, and what must hold after each."""

from __future__ import annotations

import copy
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster.api import Api, ApiError, Object
from tests.cluster.charts import known_values
from tests.cluster.control_plane import ControlPlane
from tests.cluster.helm import Helm, Helm3, Helm4, rendered_by_helm3
from tests.cluster.release import Release
from tests.deadline import poll
from tests.helm.rendering import NAMESPACE, component, pods, render

PROCESSES: Final = {"identity", "quiz", "score", "leaderboard", "edge"}
JOBS_SECONDS: Final = 0.3
# What an uninstall leaves (docs/operator/install.md): generated Secrets, and the volume of backups.
LEFT: Final = {"secrets/topten-secrets", "secrets/topten-trial", "persistentvolumeclaims/topten-backup"}
RESTRICTED: Final = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}


@dataclass(frozen=True)
class Charts:
    """The folders of the charts that a release goes through."""

    previous: Path
    this: Path
    next: Path


@dataclass
class Outcome:
    """What happened to one set of values: each step with its seconds, what is left, or the failure."""

    values: str
    helm: str
    objects: int = 0
    pods: int = 0
    steps: list[tuple[str, float]] = field(default_factory=list)
    left: set[str] = field(default_factory=set)
    failure: str = ""


Step = Callable[[str, Callable[[], None]], None]


class Life:
    """Takes one set of values through install, upgrades, rollback and uninstall."""

    def __init__(self, plane: ControlPlane, charts: Charts, helm3: Path) -> None:
        self._api = plane.api
        self._plane = plane
        self._charts = charts
        self._helm3 = helm3

    def by_helm4(self, name: str, values: Mapping[str, Any]) -> Outcome:
        """Live it by Helm 4, from the previous chart on. A failure is in the outcome."""
        helm = Helm4(self._plane.kubeconfig, name)
        return self._live(Outcome(name, "4"), name, helm, dict(values))

    def by_helm3(self, name: str, values: Mapping[str, Any]) -> Outcome:
        """Live it by Helm 3, which renders what Helm 4 does, and hand the release to Helm 4 before it is removed."""
        namespace = f"{name}-helm3"
        helm = Helm3(self._helm3, self._plane.kubeconfig, namespace)
        successor = Helm4(self._plane.kubeconfig, namespace)
        return self._live(Outcome(name, "3"), namespace, helm, dict(values), successor=successor)

    def _live(
        self,
        outcome: Outcome,
        namespace: str,
        helm: Helm,
        values: dict[str, Any],
        successor: Helm | None = None,
    ) -> Outcome:
        def step(name: str, act: Callable[[], None]) -> None:
            started = time.monotonic()
            act()
            outcome.steps.append((name, time.monotonic() - started))

        release = Release(self._api, namespace)
        try:
            self._prepare(namespace)
            with completed_jobs(self._api, namespace):
                if successor is None:
                    step("validate", lambda: self._validate(namespace, values, outcome))
                else:
                    step("compare with Helm 4", lambda: self._compare(values, outcome))
                self._change(release, helm, values, outcome, step)
                if successor is not None:
                    first = _templates(release)
                    step("upgrade by Helm 4", lambda: successor.upgrade(self._charts.this, values))
                    assert _templates(release) == first, "another Helm changed pods or Jobs"
                self._remove_url(release, helm if successor is None else successor, values, step)
                self._uninstall(release, helm if successor is None else successor, outcome, step)
        except Exception as error:  # noqa: BLE001  # one release must not end the others
            outcome.failure = f"{type(error).__name__}: {error}"
        return outcome

    def _change(self, release: Release, helm: Helm, values: dict[str, Any], outcome: Outcome, step: Step) -> None:
        """Install, and upgrade what should replace no pod, and what should replace some; then roll back."""
        this, changed = self._charts.this, values.get("settings", {}) | {"TOPTEN_LOG_LEVEL": "debug"}
        previous = known_values(self._charts.previous, values)
        step("install the previous chart", lambda: helm.install(self._charts.previous, previous))
        step("upgrade to this chart", lambda: helm.upgrade(this, values))
        first = _templates(release)
        assert first.keys() >= PROCESSES
        step("admit pods", lambda: self._admit_pods(release.namespace, values, outcome))
        step("upgrade: chart version", lambda: helm.upgrade(self._charts.next, values))
        assert _templates(release) == first, "a chart version alone changed pods or Jobs"
        labels = {**values.get("labels", {}), "cost-center": "changed"}
        step("upgrade: label", lambda: helm.upgrade(this, values | {"labels": labels}))
        assert _templates(release) == first, "a label alone changed pods or Jobs"
        step("upgrade: setting", lambda: helm.upgrade(this, values | {"settings": changed}))
        after = _templates(release)
        replaced = {name for name in first if not name.startswith("job ") and after.get(name) != first[name]}
        assert replaced == PROCESSES, f"a setting replaced the pods of {sorted(replaced)}"
        step("roll back", lambda: helm.roll_back(2))
        assert _templates(release) == first, "a rollback did not restore pods and Jobs"

    def _uninstall(self, release: Release, helm: Helm, outcome: Outcome, step: Step) -> None:
        step("uninstall", helm.uninstall)

        def is_clean() -> bool:
            outcome.left = release.names()
            return outcome.left <= LEFT

        poll(is_clean, "an uninstall leaves only what the page says")

    def _compare(self, values: Mapping[str, Any], outcome: Outcome) -> None:
        """Render an install and an upgrade by both versions of Helm: the objects must be the same."""
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(dict(values), file)
            file.flush()
            for upgrade in (False, True):
                text = rendered_by_helm3(self._helm3, self._charts.this, Path(file.name), NAMESPACE, upgrade=upgrade)
                theirs = [one for one in yaml.load_all(text, yaml.CSafeLoader) if one]
                ours = render(values, revision=2 if upgrade else 1)
                outcome.objects = sum(one["kind"] != "Pod" for one in ours)
                assert _comparable(theirs) == _comparable(ours), "Helm 3 and Helm 4 render different objects"

    def _remove_url(self, release: Release, helm: Helm, values: dict[str, Any], step: Step) -> None:
        """Move a store from its URL to an existing Secret: the URL must leave the cluster."""
        stores = values.get("stores", {})
        moved = {name: store for name, store in stores.items() if store.get("url")}
        if not moved:
            return
        name, store = next(iter(moved.items()))
        other = stores | {name: {**store, "url": "", "existingSecret": "elsewhere"}}
        step("upgrade: URL removed", lambda: helm.upgrade(self._charts.this, values | {"stores": other}))
        (secret,) = (one for one in release.objects("secrets") if one["metadata"]["name"] == "topten-stores")
        assert set(secret["data"]) == {f"{name}-url" for name in moved.keys() - {name}} | set(), (
            "the URL is still there"
        )

    def _prepare(self, namespace: str) -> None:
        metadata = {"name": namespace, "labels": RESTRICTED}
        self._api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        # Controllers would create it.
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        self._api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", account)

    def _validate(self, namespace: str, values: Mapping[str, Any], outcome: Outcome) -> None:
        """Create every object of an install, but pods, in a dry run that refuses unknown and duplicate fields."""
        for manifest in render(values):
            if manifest["kind"] != "Pod":
                self._try(_collection(manifest, namespace), manifest)
                outcome.objects += 1

    def _admit_pods(self, namespace: str, values: Mapping[str, Any], outcome: Outcome) -> None:
        """Create a pod of every template in a dry run: Pod Security is enforced on pods alone."""
        for owner, pod in pods(render(values)):
            metadata = {**pod["metadata"], "name": owner["metadata"]["name"]}
            # The volumes that the controller of a StatefulSet would add.
            claims = [one["metadata"]["name"] for one in owner["spec"].get("volumeClaimTemplates", [])]
            added = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims]
            spec = {**pod["spec"], "volumes": [*pod["spec"].get("volumes", []), *added]}
            made = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
            self._try(f"/api/v1/namespaces/{namespace}/pods", made)
            outcome.pods += 1

    def _try(self, path: str, manifest: Object) -> None:
        try:
            self._api.create(f"{path}?dryRun=All&fieldValidation=Strict", copy.deepcopy(manifest))
        except ApiError as error:
            raise AssertionError(f"{manifest['kind']} {manifest['metadata']['name']}: {error}") from None


@contextmanager
def completed_jobs(api: Api, namespace: str) -> Iterator[None]:
    """Report every Job of a namespace as complete, as controllers and nodes would; Helm waits for those that are hooks."""
    ended = threading.Event()
    collection = f"/apis/batch/v1/namespaces/{namespace}/jobs"

    def loop() -> None:
        while not ended.wait(JOBS_SECONDS):
            with suppress(ApiError, OSError):
                for job in api.items(collection):
                    if not job["status"].get("conditions"):
                        api.patch(f"{collection}/{job['metadata']['name']}/status", {"status": _complete()})

    thread = threading.Thread(target=loop, name=f"jobs of {namespace}")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _complete() -> Object:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = [
        {"type": kind, "status": "True", "lastProbeTime": now, "lastTransitionTime": now}
        for kind in ("SuccessCriteriaMet", "Complete")
    ]
    return {"startTime": now, "completionTime": now, "succeeded": 1, "conditions": conditions}


def _comparable(manifests: list[Object]) -> dict[tuple[str, str], Object]:
    """Objects by kind and name, without generated secrets, which are new in each rendering."""
    found = {}
    for one in manifests:
        kept = {
            key: value for key, value in one.items() if not (one["kind"] == "Secret" and key in ("data", "stringData"))
        }
        found[one["kind"], one["metadata"]["name"]] = kept
    return found


def _collection(manifest: Object, namespace: str) -> str:
    plural = {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}
    kind = plural.get(manifest["kind"], f"{manifest['kind'].lower()}s")
    version = manifest["apiVersion"]
    return f"/{'apis' if '/' in version else 'api'}/{version}/namespaces/{namespace}/{kind}"


def _templates(release: Release) -> dict[str, Any]:
    """The pod template of every component, and the name of every Job that is no hook."""
    found: dict[str, Any] = {
        component(one): one["spec"]["template"]
        for collection in ("deployments", "statefulsets")
        for one in release.objects(collection)
    }
    for job in release.objects("jobs"):
        if "helm.sh/hook" not in job["metadata"].get("annotations", {}):
            found[f"job {job['metadata']['name']}"] = True
    return found


def define(api: Api, files: list[Path]) -> None:
    """Create custom definitions and the priority class that some values name; returns when they are served."""
    manifests = [one for path in files for one in yaml.safe_load_all(path.read_text()) if one]
    definitions = [one for one in manifests if one.get("kind") == "CustomResourceDefinition"]
    for one in definitions:
        api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", one)
    priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 1000}
    api.create("/apis/scheduling.k8s.io/v1/priorityclasses", priority | {"metadata": {"name": "production"}})
    poll(lambda: all(_is_served(api, one["metadata"]["name"]) for one in definitions), "the definitions are served")


def _is_served(api: Api, name: str) -> bool:
    status = api.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}").get("status", {})
    return any(one["type"] == "Established" and one["status"] == "True" for one in status.get("conditions", []))
