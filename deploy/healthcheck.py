"""The image's health check: is the process of this container alive, by its TOPTEN_*_OPS_ADDRESS?

Uses only the standard library, because it starts every few seconds. A container that runs a command has no such address and
is healthy as long as it runs.
"""

import os
import sys
import urllib.request

ANY = {"0.0.0.0", "[::]"}  # noqa: S104  # listens on every address; checked on the loopback one


def url(address: str) -> str:
    """The liveness URL of an address, from inside the container."""
    host, _, port = address.rpartition(":")
    return f"http://{'localhost' if host in ANY else host}:{port}/livez"


def main() -> int:
    """The exit code: 0 if the process responds."""
    for name, address in os.environ.items():
        if name.startswith("TOPTEN_") and name.endswith("_OPS_ADDRESS"):
            try:
                with urllib.request.urlopen(url(address), timeout=4):  # noqa: S310  # an address of this container
                    return 0
            except OSError:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
