"""etcd and the API server of Kubernetes on loopback, without root.

Everything it writes is in one folder, and every process it starts ends with the `with` block, by its id.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any, Final

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.cluster.api import Api
from tests.cluster.processes import running
from tests.cluster.tools import Tools
from tests.deadline import poll
from tests.servers import free_port

HOST: Final = "127.0.0.1"
NODE: Final = "node1"
# Who has a token: the user's name in Kubernetes, and the group if it has one.
USERS: Final = {
    "admin": ("admin", "system:masters"),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
    **{name: (f"system:{name}", "") for name in ("kube-controller-manager", "kube-scheduler", "kube-proxy")},
}


class ControlPlane:
    """The running server: a client of it, and a kubeconfig for each user."""

    def __init__(self, folder: Path, tools: Tools) -> None:
        self._folder = folder
        self._tools = tools
        self._tokens = {name: secrets.token_hex(16) for name in USERS}
        self._port = free_port()
        self.accounts_key = folder / "accounts.key"
        self.api = Api(f"https://{HOST}:{self._port}", self._tokens["admin"])
        self.kubeconfig = self.kubeconfig_of("admin")

    @contextmanager
    def running(self) -> Iterator[ControlPlane]:
        """Start everything, wait until the API server is ready, and end everything afterwards."""
        self._write_credentials()
        client, peer = (f"http://{HOST}:{free_port()}" for _ in range(2))
        with ExitStack() as stack:

            def start(name: str, *options: str) -> Popen[Any]:
                log = self._folder / f"{name}.log"
                return stack.enter_context(running([self._tools.programs[name], *options], log))

            start(
                "etcd",
                f"--data-dir={self._folder / 'etcd'}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                "--unsafe-no-fsync",
            )
            server = start("kube-apiserver", *self._server_options(client))
            poll(lambda: self.api.is_ready() or server.poll() is not None, "the API server is ready")
            assert server.poll() is None, (self._folder / "kube-apiserver.log").read_text()[-3000:]
            yield self

    def _server_options(self, etcd: str) -> list[str]:
        return [
            f"--etcd-servers={etcd}",
            f"--bind-address={HOST}",
            f"--advertise-address={HOST}",
            "--endpoint-reconciler-type=none",
            f"--secure-port={self._port}",
            f"--cert-dir={self._folder}",
            f"--token-auth-file={self._folder / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.accounts_key}",
            f"--service-account-signing-key-file={self.accounts_key}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--kubelet-preferred-address-types=InternalIP",
        ]

    def _write_credentials(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.accounts_key.write_bytes(pem)
        lines = [
            f"{self._tokens[name]},{user},{name}{group and f',{group}'}\n" for name, (user, group) in USERS.items()
        ]
        (self._folder / "tokens.csv").write_text("".join(lines))

    def kubeconfig_of(self, user: str) -> Path:
        """A kubeconfig with the token of a user."""
        path = self._folder / f"{user}.kubeconfig"
        cluster = {"server": self.api.address, "insecure-skip-tls-verify": True}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": cluster}],
            "users": [{"name": "here", "user": {"token": self._tokens[user]}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
            "current-context": "here",
        }
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)  # Helm warns of others
        return path
