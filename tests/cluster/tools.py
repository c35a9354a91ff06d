"""The programs of a cluster, built once from their Go modules and kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
MODULES: Final = Path(__file__).parent / "tools"
GO: Final = ROOT / ".venv-codegen" / "bin" / "go"
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "topten-cluster"
# A program: its module under tools/ and its package. etcd's is named `server` by Go.
PROGRAMS: Final = {
    "etcd": ("control", "go.etcd.io/etcd/server/v3"),
    "kube-apiserver": ("control", "k8s.io/kubernetes/cmd/kube-apiserver"),
    "helm": ("helm3", "helm.sh/helm/v3/cmd/helm"),
}
# What a node needs besides: the controllers that create pods, and the command line.
NODE_PROGRAMS: Final = {
    name: ("control", f"k8s.io/kubernetes/cmd/{name}")
    for name in ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
}
# Where the modules of other projects keep the definitions of the kinds that the chart uses.
DEFINITIONS: Final = {
    "sigs.k8s.io/gateway-api@v1.7.0": (
        "config/crd/standard/gateway.networking.k8s.io_grpcroutes.yaml",
        "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
    ),
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": (
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
    "github.com/kedacore/keda/v2@v2.21.0": ("config/crd/bases/keda.sh_scaledobjects.yaml",),
}


@dataclass(frozen=True)
class Tools:
    """The built programs by name, and the files of custom definitions."""

    programs: dict[str, Path]
    definitions: list[Path]


class BuildError(RuntimeError):
    """A program could not be built; the message has the compiler's last lines."""


def prepare(*, node: bool) -> Tools:
    """Build what is not in the cache, and with `node` what a node needs too. Raises BuildError."""
    wanted = PROGRAMS | NODE_PROGRAMS if node else PROGRAMS
    return Tools({name: _program(name) for name in wanted}, [path for each in DEFINITIONS for path in _crds(each)])


def version(name: str) -> str:
    """The pinned version of a program."""
    module, package = (PROGRAMS | NODE_PROGRAMS)[name]
    required = re.findall(r"^\s*([\w./-]+) (v[\w.+-]+)", (MODULES / module / "go.mod").read_text(), re.MULTILINE)
    return next(str(number) for path, number in required if package.startswith(path))


def _program(name: str) -> Path:
    module, package = (PROGRAMS | NODE_PROGRAMS)[name]
    pinned = hashlib.sha256((MODULES / module / "go.sum").read_bytes()).hexdigest()[:12]
    built = CACHE / f"{module}-{pinned}" / name
    if built.exists():
        return built
    print(f"building {name} {version(name)}; once, up to some minutes", flush=True)
    folder = built.parent / f"{name}-build"
    # Kubernetes reports the version that is linked in; without it, that of a development build.
    stamp = f"-X k8s.io/component-base/version.gitVersion={version(name)}" if module == "control" else ""
    _go("install", "-trimpath", "-gcflags=all=-l", f"-ldflags=-s -w {stamp}", package, at=MODULES / module, into=folder)
    (program,) = folder.iterdir()
    program.replace(built)
    folder.rmdir()
    return built


def _crds(module: str) -> list[Path]:
    found = json.loads(_go("mod", "download", "-json", module, at=CACHE, into=CACHE))
    return [Path(found["Dir"]) / path for path in DEFINITIONS[module]]


def _go(*arguments: str, at: Path, into: Path) -> str:
    into.mkdir(parents=True, exist_ok=True)
    environ = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOBIN": str(into)}
    done = subprocess.run(
        ["nice", "-n", "19", str(GO), *arguments],
        cwd=at,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"go {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return done.stdout
