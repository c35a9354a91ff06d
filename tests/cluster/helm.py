"""The two versions of Helm that people use, each acting on one release."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import yaml
from helm_python import Config

from tests.cluster.tools import version

NAME: Final = "topten"
HELM_SECONDS: Final = 180
_OUTPUT: Final = 2000


class Helm(Protocol):
    """Installs, upgrades, rolls back and removes the release `NAME` of one namespace, and waits for its hooks."""

    def install(self, chart: Path, values: Mapping[str, Any]) -> None:
        """Install the chart."""

    def upgrade(self, chart: Path, values: Mapping[str, Any]) -> None:
        """Upgrade to a chart with exactly these values."""

    def roll_back(self, revision: int) -> None:
        """Go back to a revision."""

    def uninstall(self) -> None:
        """Remove the release."""


class Helm4:
    """Helm 4 as a library. Raises HelmError."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._namespace = namespace
        self._helm = Config(kubeconfig_path=kubeconfig, namespace=namespace)

    def install(self, chart: Path, values: Mapping[str, Any]) -> None:
        """See Helm."""
        self._helm.install(chart, NAME, dict(values), namespace=self._namespace, timeout=HELM_SECONDS)

    def upgrade(self, chart: Path, values: Mapping[str, Any]) -> None:
        """See Helm."""
        self._helm.upgrade(
            chart, NAME, dict(values), namespace=self._namespace, timeout=HELM_SECONDS, reset_values=True
        )

    def roll_back(self, revision: int) -> None:
        """See Helm."""
        self._helm.rollback(NAME, version=revision, timeout=HELM_SECONDS)

    def uninstall(self) -> None:
        """See Helm."""
        self._helm.uninstall(NAME, timeout=HELM_SECONDS)

    def test(self) -> None:
        """Run the tests of the release."""
        self._helm.test(NAME, timeout=HELM_SECONDS)


class Helm3:
    """Helm 3 as a program. Raises Helm3Error."""

    def __init__(self, program: Path, kubeconfig: Path, namespace: str) -> None:
        self._program = program
        self._options = ["--kubeconfig", str(kubeconfig), "--namespace", namespace]

    def install(self, chart: Path, values: Mapping[str, Any]) -> None:
        """See Helm."""
        self._with_values("install", chart, values)

    def upgrade(self, chart: Path, values: Mapping[str, Any]) -> None:
        """See Helm."""
        self._with_values("upgrade", chart, values, "--reset-values")

    def roll_back(self, revision: int) -> None:
        """See Helm."""
        self._run("rollback", NAME, str(revision), *self._options)

    def uninstall(self) -> None:
        """See Helm."""
        self._run("uninstall", NAME, *self._options)

    def _with_values(self, command: str, chart: Path, values: Mapping[str, Any], *options: str) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(dict(values), file)
            file.flush()
            self._run(command, NAME, str(chart), "--values", file.name, *options, *self._options)

    def _run(self, *arguments: str) -> None:
        run_helm3(self._program, *arguments, "--timeout", f"{HELM_SECONDS}s")


class Helm3Error(RuntimeError):
    """Helm 3 failed; the message is the end of what it said."""


def rendered_by_helm3(program: Path, chart: Path, values: Path, namespace: str, *, upgrade: bool) -> str:
    """Return the manifests of an install or an upgrade as YAML. Raises Helm3Error."""
    # Without a version, a program that is built from its module assumes a very old one.
    options = ["--values", str(values), "--namespace", namespace, "--kube-version", version("kube-apiserver")]
    if upgrade:
        options.append("--is-upgrade")
    return run_helm3(program, "template", NAME, str(chart), *options)


def run_helm3(program: Path, *arguments: str) -> str:
    """Run the program with settings and a cache of its own, and return its output. Raises Helm3Error."""
    with tempfile.TemporaryDirectory(prefix="topten-helm-") as folder:
        homes = {f"HELM_{name}_HOME": folder for name in ("CACHE", "CONFIG", "DATA")}
        done = subprocess.run(
            [program, *arguments], env=os.environ | homes, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise Helm3Error(f"helm {arguments[0]}: {done.stderr.strip()[-_OUTPUT:]}")
    return done.stdout
