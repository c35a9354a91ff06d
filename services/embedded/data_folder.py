"""The data folder: secrets, ports and `endpoints.json`, readable only by their owner, and its lock.

Owns the names of the files. Must never be shared by two running stacks.
"""

from __future__ import annotations

import json
import random
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.embedded import lock
from services.embedded.credentials import new_password, new_signing_key
from services.embedded.preflight import HOST, MAX_PORT
from services.runtime.files import replace_file


class DataFolder:
    """A folder whose content outlives the stack: secrets and ports are created once and then reused."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.path / "secrets").mkdir(mode=0o700, exist_ok=True)
        self._lock = -1
        self._reservations: dict[int, int] = {}

    def lock(self) -> None:
        """Lock the folder until this process ends. Raises FolderInUseError."""
        self._lock = lock.take(self.path)

    def secret(self, name: str) -> str:
        """A random text of 256 bits, created once."""
        return self._once(f"secrets/{name}", new_password)

    def signing_key(self) -> str:
        """An Ed25519 private key (PKCS#8 PEM), created once."""
        return self._once("secrets/signing_key.pem", new_signing_key)

    def ports(self, *names: str) -> dict[str, int]:
        """A port for each name: its previous one, or a free one if it is new or its port is taken."""
        previous = self._previous_ports()
        held: list[socket.socket] = []
        # Below the kernel's range for outgoing connections, which could take the port of a child during its restart. Any
        # other port is the last resort.
        free = [*random.sample(range(20_000, 32_000), 100), 0]
        try:
            ports = {name: self._port([previous[name], *free] if name in previous else free, held) for name in names}
        finally:
            for listener in held:
                listener.close()
        self.write("ports.json", json.dumps(ports, indent=2))
        return ports

    def _previous_ports(self) -> dict[str, int]:
        """The ports of the last run; none if their file is damaged, because any others do as well."""
        try:
            ports = json.loads((self.path / "ports.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        if not isinstance(ports, dict):
            return {}
        return {name: port for name, port in ports.items() if type(port) is int and 0 < port <= MAX_PORT}

    def write(self, name: str, text: str) -> None:
        """Write a file that only its owner can read; it survives a power cut whole."""
        replace_file(self.path / name, text)

    def _once(self, name: str, make: Any) -> str:
        path = self.path / name
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if not text:  # an empty file holds no secret: it was cut off while it was created
            text = make()
            self.write(name, text)
        return text

    def _port(self, wanted: Sequence[int], held: list[socket.socket]) -> int:
        for port in wanted:
            # An address in TIME_WAIT from the last run does not prevent a server from listening.
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((HOST, port))
                listener.listen(1)
            except OSError:
                listener.close()
                continue
            held.append(listener)
            bound: int = listener.getsockname()[1]
            if self._reserve(bound):
                return bound
        raise OSError("no free port")

    def _reserve(self, port: int) -> bool:
        """Claim a port among all stacks of this machine until this process ends; False if another stack has it.

        A stack chooses its ports seconds before its children listen on them. A name in Linux' abstract socket namespace
        is atomic, leaves no file and goes with its process; elsewhere nothing is reserved.
        """
        if port in self._reservations or sys.platform != "linux":
            return True
        reservation = socket.socket(socket.AF_UNIX)
        try:
            reservation.bind(f"\0topten-port-{port}")
        except OSError:
            reservation.close()
            return False
        self._reservations[port] = reservation.detach()  # open until the process ends, like the lock
        return True
