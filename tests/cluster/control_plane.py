"""etcd and the API server of Kubernetes on loopback, without root.

Everything it writes is in one folder, and every process it starts ends with the `with` block, by its id.
"""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.cluster.api import Api
from tests.cluster.tools import Tools
from tests.deadline import poll
from tests.servers import free_port

HOST: Final = "127.0.0.1"
STOP_SECONDS: Final = 20


class ControlPlane:
    """The running server: a client of it, and a kubeconfig for Helm."""

    def __init__(self, folder: Path, tools: Tools) -> None:
        self._folder = folder
        self._tools = tools
        token = secrets.token_hex(16)
        self._port = free_port()
        self.api = Api(f"https://{HOST}:{self._port}", token)
        self.kubeconfig = self._kubeconfig()

    @contextmanager
    def running(self) -> Iterator[ControlPlane]:
        """Start everything, wait until the API server is ready, and end everything afterwards."""
        self._write_credentials()
        client, peer = (f"http://{HOST}:{free_port()}" for _ in range(2))
        with ExitStack() as stack:

            def start(name: str, *options: str) -> subprocess.Popen[Any]:
                return stack.enter_context(self._process(name, *options))

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
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._folder / 'accounts.key'}",
            f"--service-account-signing-key-file={self._folder / 'accounts.key'}",
            "--service-cluster-ip-range=10.96.0.0/16",
        ]

    def _write_credentials(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self._folder / "accounts.key").write_bytes(pem)
        (self._folder / "tokens.csv").write_text(f'{self.api.token},admin,admin,"system:masters"\n')

    def _kubeconfig(self) -> Path:
        path = self._folder / "kubeconfig"
        cluster = {"server": self.api.address, "insecure-skip-tls-verify": True}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": self.api.token}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "admin"}}],
            "current-context": "here",
        }
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)  # Helm warns of others
        return path

    @contextmanager
    def _process(self, name: str, *options: str) -> Iterator[subprocess.Popen[Any]]:
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [self._tools.programs[name], *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
