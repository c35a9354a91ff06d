"""The data folder: secrets, ports and `endpoints.json`, readable by their owner alone, and the lock on it.

Owns the names of what lies there. Must never be shared by two running stacks.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from services.local.credentials import new_password, new_signing_key

HOST: Final = "127.0.0.1"


class FolderInUseError(RuntimeError):
    """Another stack runs on this folder."""


class DataFolder:
    """A folder whose content survives the stack: what is asked for is made once and found again."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.path / "secrets").mkdir(mode=0o700, exist_ok=True)
        self._lock = -1

    def lock(self) -> None:
        """Claim the folder until this process ends. Raises FolderInUseError."""
        self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUseError(f"another Topten runs on {self.path}; stop it or name another folder") from None

    def secret(self, name: str) -> str:
        """A random text of 256 bits, made once."""
        return self._once(f"secrets/{name}", new_password)

    def signing_key(self) -> str:
        """An Ed25519 private key (PKCS#8 PEM), made once."""
        return self._once("secrets/signing_key.pem", new_signing_key)

    def ports(self, *names: str) -> dict[str, int]:
        """A port for each name: the one it had, or a free one if it is new or taken by somebody else."""
        path = self.path / "ports.json"
        known: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
        held: list[socket.socket] = []
        # Outside of the range from which the kernel gives outgoing connections theirs, where one may be gone while a
        # child starts again; if all that is full, any will do.
        free = [*random.sample(range(20_000, 32_000), 100), 0]
        try:
            ports = {name: self._port([known[name], *free] if name in known else free, held) for name in names}
        finally:
            for listener in held:
                listener.close()
        self.write("ports.json", json.dumps(ports, indent=2))
        return ports

    def write(self, name: str, text: str) -> None:
        """Write a file that only its owner may read, whole or not at all."""
        path = self.path / name
        new = path.with_name(path.name + ".new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        new.replace(path)

    def _once(self, name: str, make: Any) -> str:
        path = self.path / name
        if not path.exists():
            self.write(name, make())
        return path.read_text(encoding="utf-8")

    @staticmethod
    def _port(wanted: Sequence[int], held: list[socket.socket]) -> int:
        for port in wanted:
            # The address may still be in TIME_WAIT from the last run, which does not keep a server from it.
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((HOST, port))
                listener.listen(1)
            except OSError:
                listener.close()
                continue
            held.append(listener)
            found: int = listener.getsockname()[1]
            return found
        raise OSError("no free port")
